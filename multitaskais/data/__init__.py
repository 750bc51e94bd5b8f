"""Small data that ship with the package: the coastline (Natural Earth, public domain)."""

from .coastline import coastline, on_land

__all__ = ["coastline", "on_land"]
