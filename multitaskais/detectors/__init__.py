"""The detectors, one file each; docs/detectors.md shows how to add one. ``reference.py`` and ``lanes.py`` hold what several share."""
