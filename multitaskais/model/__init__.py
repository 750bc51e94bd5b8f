"""A model: all that was learnt of a region, as one folder.

``samples.py``: what it learns from; ``samples_table.py``: the same in Parquet; ``subset.py``: a fair part of very much. ``fit.py``: how it is fitted and its thresholds are set. ``folder.py``: saved and loaded.
``store.py``: versions in a store. Which model is active at which time is decided in ``multitaskais/engine/rollout.py``.
"""
