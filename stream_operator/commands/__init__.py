"""One file a command of ``python -m stream_operator``."""
