"""The Faust worker: reads its partitions, runs the engine, commits in transactions."""
