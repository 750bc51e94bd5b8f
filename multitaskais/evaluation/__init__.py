"""How good a panel is: anomalies put into real tracks (``inject``), and the figures that follow.

``archive_run.py``: detection over an archive of any size, in parts. ``archive_input.py``: what was read, to go on later.
``alert_files.py``: the files of alerts. ``months.py``: the summary by month and year.
"""
