"""From a detector's scores to alerts; knows no detector by name.

``protocol.py``: what a detector is; ``checks.py`` holds it to that. ``calibration.py``, ``grid.py``: scores become comparable
between places. ``threshold.py``: thresholds from a budget of false alarms. ``panel.py``: all detectors, step by step.
``lifecycle.py``: an alert is raised, updated, closed. ``explain.py``: its sentence. ``offline.py``: the same over whole tracks.
"""
