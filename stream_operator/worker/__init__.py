"""The Faust worker: reads its partitions, runs the engine, commits in transactions.

``app.py``: the service. ``consumer.py``: reads the log. ``assignment.py``: which partitions are ours. ``source_log.py``: from which offset,
and is it still the same log? ``partition.py``: one partition's engine and results. ``checkpoint.py``: where state, results and offset
become durable; ``checkpoint_schedule.py``: when. ``heartbeat.py``: of the consumer's thread. ``control_log.py``, ``registry.py``: announced models.
``topic_identity.py``, ``topic_watch.py``: is it still the same topic? ``health.py``, ``metrics.py``: what a monitor sees.
"""
