"""The engine: one deterministic fold over the log of one partition, live and in batch."""
