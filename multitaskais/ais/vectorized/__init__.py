"""Blocks of lines at once, with arrays. Equal to the reference path, line by line (property-tested)."""
