"""Reports to tracks, and tracks to samples every 10 minutes.

``quality.py``: can a report be right by itself? ``watermark.py``: can its time be, in its partition (``future``, ``behind``)?
``tracker.py``: order, late reports, duplicates, gaps, jumps, two ships on one MMSI. ``sampler.py``, ``resample.py``: samples.
``segmentation.py``: the same over whole archives. ``selection.py``: which tracks a model learns from.
"""
