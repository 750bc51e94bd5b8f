"""Seeded traffic of a region, with labelled abnormal ships among it."""

from .settings import KINDS, SimulationSettings
from .traffic import Label, Traffic, simulate

__all__ = ["KINDS", "Label", "SimulationSettings", "Traffic", "simulate"]
