"""Every speed claim as a ratio against a named reference in the same run: ``python -m benchmarks [NAME...] [--quick] [--plot]``."""
