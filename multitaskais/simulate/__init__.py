"""Seeded traffic of a region, with labelled abnormal ships among it."""

from .settings import KINDS, SimulationSettings
from .traffic import Label, SimulatedTraffic, simulate

__all__ = ["KINDS", "Label", "SimulatedTraffic", "SimulationSettings", "simulate"]
