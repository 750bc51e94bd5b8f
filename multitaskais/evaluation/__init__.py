"""How good a panel is: anomalies put into real tracks (``inject``), and the figures that follow."""
