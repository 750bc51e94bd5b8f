"""What a simulation is asked for, and the kinds of abnormal ships it knows."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

KINDS = ("shift", "detour", "reversed", "drift", "loiter", "fast", "spoof", "jump")

TOGETHER_KINDS = ("meeting", "silence", "zone")
TOGETHER_MAX = 50
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """``vessels`` and ``abnormal`` (which counts among them) are per day."""

    start: float = 1_767_225_600.0  # Unix s; 2026-01-01T00:00:00Z
    days: int = 1
    vessels: int = 300
    abnormal: int = 24
    lane_shift_m: float = 0.0  # every lane lies so far to one side of where it lies in other runs
    kinds: tuple[str, ...] = KINDS
    together: int = 0  # scenes a day of each kind of ``together``, beside ``vessels``
    station_outage: bool = False  # a station hears nothing for a while each evening (``together.evening_outage``)

    def __post_init__(self) -> None:
        if self.days < 1 or self.vessels < 1:
            raise ConfigError("simulate: days and vessels must be 1 or more")
        if not 0 <= self.abnormal <= self.vessels:
            raise ConfigError("simulate: abnormal must lie between 0 and vessels")
        if not 0 <= self.together <= TOGETHER_MAX:
            raise ConfigError(f"simulate: together must lie between 0 and {TOGETHER_MAX}")
        if self.lane_shift_m < 0 or self.lane_shift_m > 3000:
            raise ConfigError("simulate: lane_shift_m must lie between 0 and 3000 m (lanes would cross each other)")
        if unknown := set(self.kinds) - set(KINDS):
            raise ConfigError(f"simulate: unknown kind {sorted(unknown)[0]!r}; known: {', '.join(KINDS)}")

    @property
    def end(self) -> float:
        return self.start + self.days * DAY_S
