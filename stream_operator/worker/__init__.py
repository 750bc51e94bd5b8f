"""The Faust worker: reads its partitions, runs the engine, commits in transactions.

``app.py``: the service. ``consumer.py``: records of the log, assignment of partitions. ``partition.py``: one partition's engine and
results. ``checkpoint.py``: where state, results and offset become durable. ``control_log.py``, ``registry.py``: announced models.
``topic_identity.py``, ``topic_watch.py``: is it still the same topic? ``health.py``, ``metrics.py``: what a monitor sees.
"""
