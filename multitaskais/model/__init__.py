"""A model: all that was learnt of a region, as one folder; how it is fitted, and from which samples."""
