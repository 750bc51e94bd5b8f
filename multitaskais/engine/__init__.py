"""The engine: one deterministic function from the log of one partition to alerts and verdicts, live and in batch.

``engine.py``: what happens to a report. ``rollout.py``: which model is active for a sample. ``judging.py``: which samples are
scored together. ``state.py``, ``rows.py``: state as bytes. ``batch.py``: an archive; ``line_arrays.py``: whole vessels of it at once.
``track_tally.py``: the verdict of a whole track. ``fleet.py``: all ships together.
"""
