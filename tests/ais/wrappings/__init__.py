"""One fleet in every wrapping in which the world sends AIS; see ``wrappings``."""
