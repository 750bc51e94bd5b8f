"""Regions and rules: frozen, validated at construction, JSON in and out. No running state lives here."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .errors import ConfigError

if TYPE_CHECKING:  # a pipeline with nothing to do needs regions and no NumPy
    import numpy as np
    from numpy.typing import NDArray

STEP_S = 600.0  # docs/method.md#samples: one sample each 10 minutes


class JsonSettings:
    """JSON in and out for the frozen dataclasses of this file; an unknown field is an error, not a silence."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"{cls.__name__}: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as e:
            raise ConfigError(f"{cls.__name__}: {e}") from None

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = dataclasses.asdict(self)  # type: ignore[call-overload]
        return values


@dataclass(frozen=True, slots=True)
class Region(JsonSettings):
    """A box and its bins (degrees, knots). A point belongs when ``lat_min <= lat < lat_max`` and the same for lon.

    ``wraps`` regions (lon_min > lon_max) are not supported; ``global`` has a box of the whole world and no model.
    """

    name: str
    lat_min: float
    lat_max: float
    lon_min: float
    lon_max: float
    lat_bin_deg: float = 0.01
    lon_bin_deg: float = 0.01
    sog_bin_knots: float = 1.0
    cog_bin_deg: float = 5.0
    sog_max_knots: float = 30.0
    cell_deg: float = 0.1  # side of a calibration cell (docs/method.md#calibration)

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name == "name":
                if not isinstance(value, str):
                    raise ConfigError(f"region: name {value!r:.80} must be text")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigError(f"region {self.name[:80]!r}: {f.name} {value!r:.80} must be a number")
        if not (-90 <= self.lat_min < self.lat_max <= 90 and -180 <= self.lon_min < self.lon_max <= 180):
            raise ConfigError(
                f"region {self.name!r}: the box must satisfy -90 <= lat_min < lat_max <= 90 and -180 <= lon_min < lon_max <= 180"
            )
        for name in ("lat_bin_deg", "lon_bin_deg", "sog_bin_knots", "cog_bin_deg", "sog_max_knots", "cell_deg"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"region {self.name!r}: {name} must be greater than 0")

    def contains(self, lat: NDArray[np.float64], lon: NDArray[np.float64], inset_deg: float = 0.0) -> NDArray[np.bool_]:
        """(n,) which points (degrees) lie in the box, or in the box that is smaller by ``inset_deg`` on all sides; NaN lies nowhere."""
        return (
            (lat >= self.lat_min + inset_deg)
            & (lat < self.lat_max - inset_deg)
            & (lon >= self.lon_min + inset_deg)
            & (lon < self.lon_max - inset_deg)
        )

    @property
    def n_lat(self) -> int:
        return max(1, round((self.lat_max - self.lat_min) / self.lat_bin_deg))

    @property
    def n_lon(self) -> int:
        return max(1, round((self.lon_max - self.lon_min) / self.lon_bin_deg))

    @property
    def n_sog(self) -> int:
        return max(1, round(self.sog_max_knots / self.sog_bin_knots))

    @property
    def n_cog(self) -> int:
        return max(1, round(360.0 / self.cog_bin_deg))

    @property
    def dim(self) -> int:
        """Length D of the four-hot vector (602 for Brittany)."""
        return self.n_lat + self.n_lon + self.n_sog + self.n_cog

    @classmethod
    def load(cls, name_or_file: str | Path) -> Region:
        """A preset's name or a JSON file of the fields above."""
        if (preset := REGIONS.get(str(name_or_file))) is not None:
            return preset
        path = Path(name_or_file)
        try:
            content = path.read_bytes()
        except (OSError, ValueError):  # ValueError: no file can have such a name
            raise ConfigError(
                f"no region {str(name_or_file)[:200]!r}: give one of {', '.join(REGIONS)} or a JSON file with name, lat_min, lat_max, lon_min, lon_max"
            ) from None
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as e:
            raise ConfigError(f"region file {path}: not JSON ({e})") from None
        if not isinstance(values, dict):
            raise ConfigError(f"region file {path}: expected one JSON object")
        return cls.from_dict(values)


REGIONS: dict[str, Region] = {
    "brittany": Region("brittany", 47.5, 49.5, -7.0, -4.0),  # 602 bins (docs/method.md#four-hot-vector)
    "gulf": Region("gulf", 28.0, 31.0, -95.0, -88.0, lat_bin_deg=0.02, lon_bin_deg=0.02),
    "global": Region("global", -90.0, 90.0, -180.0, 180.0, lat_bin_deg=1.0, lon_bin_deg=1.0, cell_deg=1.0),
}


@dataclass(frozen=True, slots=True)
class TrackRules(JsonSettings):
    """How reports become tracks (docs/method.md#tracks). Defaults are those of docs/contract.md#time."""

    gap_max_s: float = 7200.0  # a longer silence ends the track (INTERVAL_MAX)
    speed_max_knots: float = 30.0  # faster reports are left out (SPEED_MAX)
    jump_excess_knots: float = 30.0  # above the reported speed (docs/contract.md#tracks-samples-verdicts)
    jump_min_dt_s: float = 2.0  # an excess speed is counted over at least this time
    jump_min_m: float = 1000.0  # what the uncertainty of positions explains, at least
    stamp_error_s: float = 300.0  # and how far a station's stamp may lie from the moment of the fix
    cut_s: float = 86400.0  # a track is cut at 24 h
    lateness_s: float = 120.0  # reports are put in order over this span of the vessel's own time
    duplicate_s: float = 10.0  # equal reports within this count once
    copy_s: float = 30.0  # the same of a ship that moves: it never is at one place twice, so this is one transmission heard later again
    side_reports: int = 5  # contract: two tracks when both sides go on for this many reports each ...
    side_window_s: float = 1800.0  # ... within this time
    side_switches: int = 4  # interleaved: at least so many changes between the sides in that time
    future_max_s: float = 600.0  # ahead of the partition's clock: set aside unless confirmed
    future_confirmations: int = 3  # other vessels that confirm it
    behind_max_s: float = 3600.0  # behind the partition's clock: a broken station clock
    forget_after_s: float = 86400.0  # a vessel silent for so long is dropped from the state
    # whole-track rules that choose training and calibration tracks
    min_reports: int = 20
    min_duration_s: float = 4 * 3600.0
    moored_share: float = 0.7
    slow_knots: float = 2.0
    slow_share: float = 0.8

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if not getattr(self, f.name) > 0:
                raise ConfigError(f"TrackRules: {f.name} must be greater than 0")
        if self.copy_s < self.duplicate_s:
            raise ConfigError("TrackRules: copy_s must not be smaller than duplicate_s")
        if self.lateness_s >= self.gap_max_s:
            raise ConfigError("TrackRules: lateness_s must be smaller than gap_max_s")


@dataclass(frozen=True, slots=True)
class DetectionRules(JsonSettings):
    """When a sample is judged (docs/method.md#calibration; docs/contract.md#tracks-samples-verdicts)."""

    warmup_samples: int = 12  # docs/method.md#a-contrario-decision: the recurrent state starts from zeros
    min_timespan_s: float = 7200.0  # MIN_TIMESPAN: least time before a track may be judged
    window_steps: int = 24  # 4 h, the longest segment (docs/method.md#a-contrario-decision)
    low_quantile: float = 0.1  # a step below it is low (docs/method.md#calibration)
    moored_sog_knots: float = 0.5  # slower may be moored (docs/method.md#moored)
    moored_made_m: float = 150.0
    update_every_s: float = 3600.0  # an alert is updated at most so often, unless its score grows by update_growth
    update_growth: float = 1.25
    close_after_steps: int = 6  # samples below the threshold that close an alert (1 h)

    def __post_init__(self) -> None:
        if not 0 < self.low_quantile < 1:
            raise ConfigError("DetectionRules: low_quantile must lie between 0 and 1")
        if not 1 <= self.window_steps <= 32:
            raise ConfigError("DetectionRules: window_steps must lie between 1 and 32")
