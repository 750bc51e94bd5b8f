"""What a detector is. Calibration, decision, alert life and evaluation know this protocol and no detector by name.

A detector is causal, incremental and deterministic. Its state is a value: one row of ``state_dtype`` a track line, kept by the
engine, written to bytes and back. A step takes the rows of many lines and their next samples and gives new rows and one number a
line. What else the panel must know of it is declared in one ``Traits``. Detectors are found by the entry point group
``multitaskais.detectors``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..errors import ConfigError
from ..records import AlertType, Cause, NotJudged
from ..types import Rows, Samples
from .rings import RING_STEPS


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the panel must know of a detector beside its scores; a class declares one: ``traits = Traits(...)``.

    Attributes:
        alert_type: of the alerts that it takes part in.
        warmup_samples: samples of a line before the first judgement.
        smoothing_samples: its z are averaged over so many samples (1..12); 1 when its score is a window already.
        support_samples: with a window of its own, the samples that its score rests on; where an alert's segment starts.
        calibration: ``global`` when its score means the same everywhere: the region is one cell then.
        location_based: abstains as ``little_known`` where fewer than 10 vessels were seen around.
        needs_coverage: abstains as ``no_coverage`` where nothing was ever received when the model was made: there is no normal there;
            None: when it is ``location_based``.
        report_level: rests on reports, not on the recurrent past: needs no MIN_TIMESPAN.
        any_speed: judges also above the limit of speed (docs/limits.md), where nothing was learned: its score needs no speed that it knows.
        a_contrario: its low steps are counted for the NFA (docs/method.md, section 7).
        fixed_threshold: raises an alert at this score, whatever the budget says (only with ``calibration="global"``): for rules that
            are known to be right far more often than a budget can be measured.
        weight: in the fusion of its alert type: it must be 1 / weight times as rare as a detector of weight 1 to count as much.
        cause: of an alert in which it is the top contributor, where it asks for one thing alone; None leaves it to the decision list.
        training: ``required``: ``calibrate`` takes it only from a model folder where it was trained; ``optional``: what such a folder
            holds goes before ``fit``; ``none``: it is always fitted.
        by_default: False: not in a panel unless it is named (``calibrate --detectors``).
        scorers: the implementations that ``load(..., scorer=NAME)`` offers; empty when there is one.

    Raises:
        ConfigError: a value out of its range.
    """

    alert_type: AlertType
    warmup_samples: int = 0
    smoothing_samples: int = RING_STEPS
    support_samples: int = RING_STEPS
    calibration: Literal["per_cell", "global"] = "per_cell"
    location_based: bool = False
    needs_coverage: bool | None = None
    report_level: bool = False
    any_speed: bool = False
    a_contrario: bool = False
    fixed_threshold: float | None = None
    weight: float = 1
    cause: Cause | None = None
    training: Literal["none", "optional", "required"] = "none"
    scorers: tuple[str, ...] = ()
    by_default: bool = True

    @property
    def covered_only(self) -> bool:
        """Whether it judges nowhere but where something was received."""
        return self.location_based if self.needs_coverage is None else self.needs_coverage

    def __post_init__(self) -> None:
        if self.warmup_samples < 0:
            raise ConfigError("Traits: warmup_samples must be 0 or more")
        if not 1 <= self.smoothing_samples <= RING_STEPS:
            raise ConfigError(f"Traits: smoothing_samples must lie between 1 and {RING_STEPS}")
        if self.calibration not in ("per_cell", "global"):
            raise ConfigError(f"Traits: calibration must be 'per_cell' or 'global', not {self.calibration!r}")
        if self.training not in ("none", "optional", "required"):
            raise ConfigError(f"Traits: training must be 'none', 'optional' or 'required', not {self.training!r}")
        if self.fixed_threshold is not None and self.calibration != "global":
            raise ConfigError(
                "Traits: fixed_threshold needs a score that means the same everywhere: calibration='global'"
            )
        if not 0 < self.weight <= 1:
            raise ConfigError("Traits: weight must lie between 0 and 1")


class Scores(NamedTuple):
    """Of one step of n lines."""

    score: NDArray[np.float64]  # (n,) higher = more anomalous; NaN = abstains
    reason: NDArray[np.uint8]  # (n,) records.NotJudged; 0 where there is a score
    parts: NDArray[np.float64] | None = None  # (n, 4) contributions of lat, lon, sog, cog; NaN where missing

    @classmethod
    def where(
        cls,
        score: NDArray[np.float64],
        reasons: Mapping[NotJudged, NDArray[np.bool_]],
        parts: NDArray[np.float64] | None = None,
    ) -> Scores:
        """(n,) scores, but NaN and a reason where a mask of ``reasons`` is true; of several reasons the last one counts."""
        reason = np.zeros(len(score), np.uint8)
        for why, here in reasons.items():
            reason[here] = why
        return cls(np.where(reason == 0, score, np.nan), reason, parts)


@runtime_checkable
class Detector(Protocol):
    """One kind of anomaly.

    ``step`` must give bit-identical results for a line whatever other lines stand in the batch and in what order.
    A sample that the detector cannot use (moored, missing values, warm-up, unknown place) gets NaN and a reason, and
    still moves the state.
    """

    name: str
    traits: Traits
    state_dtype: np.dtype[Any]

    def initial(self, n: int) -> Rows:
        """(n,) rows of a line that has seen nothing."""

    def step(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        """state (n,) of ``state_dtype``, samples (n,) of ``SAMPLE_DTYPE`` -> the new state and the scores."""

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules) -> Self:
        """Learn from the samples of normal tracks, sorted by line (``mmsi``, ``n``)."""

    def save(self, folder: Path) -> None:
        """Write all that ``load`` needs as files into ``folder``; nothing in them may name a vessel."""

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self: ...


@runtime_checkable
class SupportsBlocks(Protocol):
    """A detector that can take several steps of each line at once, for less than one after another.

    A lone line has no others to share the cost of a step with: what needs nothing of the step before (distances, tables, products of the
    inputs) is then computed for all its samples together.
    """

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        """The next T steps of n lines: state (n,), samples (T * n,), the first step of every line before the second of any -> the state
        after all of them, and (T * n,) scores. The same bits as T times ``step``."""


def steps(detector: Detector, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
    """The next T steps of n lines, as ``SupportsBlocks``, of any detector."""
    n = len(state)
    if len(samples) == n:
        return detector.step(state, samples)
    if _takes_blocks(detector):
        return detector.steps(state, samples)  # type: ignore[attr-defined, no-any-return]
    found = []
    for first in range(0, len(samples), n):
        state, scores = detector.step(state, samples[first : first + n])
        found.append(scores)
    score, reason = (np.concatenate([f[k] for f in found]) for k in (0, 1))
    parts = [f.parts for f in found]
    if all(p is None for p in parts):
        return state, Scores(score, reason)
    nothing = np.full((n, 4), np.nan)
    return state, Scores(score, reason, np.concatenate([nothing if p is None else p for p in parts]))


def _takes_blocks(detector: Detector) -> bool:
    """Whether ``steps`` is there and as new as ``step``: a class that changes ``step`` alone makes the inherited ``steps`` another thing."""
    if not isinstance(detector, SupportsBlocks) or "step" in vars(detector):
        return False
    for cls in type(detector).__mro__:
        if "steps" in vars(cls) or "step" in vars(cls):
            return "steps" in vars(cls)
    return True


@runtime_checkable
class SupportsLeaveOut(Protocol):
    """A detector whose scores of the vessels that it learned from can be as of vessels that it has not seen.

    It may then learn from all vessels and be calibrated on them too.
    """

    def excluding_own(self) -> AbstractContextManager[None]:
        """Inside, each vessel is scored without its own data; afterwards, also after an exception, with them as before."""


def traits_of(detector: Detector | type[Detector]) -> Traits:
    """The traits that a detector declares.

    Detectors written for earlier versions carry them as single attributes (``alert_type``, ``window_steps``, ...); they are read
    with a ``DeprecationWarning``.

    Raises:
        ConfigError: ``traits`` is no ``Traits``, or there is none.
    """
    declared: object = getattr(detector, "traits", None)
    if isinstance(declared, Traits):
        return declared
    name = getattr(detector, "name", "?")
    if declared is not None:
        raise ConfigError(
            f"detector {name!r}: traits must be a Traits of multitaskais.detection.protocol, not {declared!r}"
        )
    if (alert_type := getattr(detector, "alert_type", None)) is None:
        raise ConfigError(f"detector {name!r} declares no traits: give its class traits = Traits(alert_type=...)")
    _deprecated(f"detector {name!r}: declare traits = Traits(...) in place of single attributes (docs/detectors.md)")
    return _traits_of_attributes(detector, AlertType(alert_type))


def leave_out(detector: Detector | type[Detector]) -> bool:
    """Whether a detector, or a class of them, supports leaving a vessel's own data out."""
    cls = detector if isinstance(detector, type) else type(detector)
    return issubclass(cls, SupportsLeaveOut) or hasattr(detector, _OLD_SWITCH)


@contextmanager
def excluding_own(detector: Detector) -> Iterator[None]:
    """Inside, ``detector`` scores each vessel without its own data, where it supports that; else as always."""
    if isinstance(detector, SupportsLeaveOut):
        with detector.excluding_own():
            yield
        return
    if not hasattr(detector, _OLD_SWITCH):
        yield
        return
    _deprecated(f"detector {detector.name!r}: offer excluding_own() in place of the attribute {_OLD_SWITCH}")
    setattr(detector, _OLD_SWITCH, True)
    try:
        yield
    finally:
        setattr(detector, _OLD_SWITCH, False)


# ---------------------------------------------------------------- detectors of earlier versions

_OLD_SWITCH = "leave_own_out"
_OLD_NAMES = {
    "warmup_samples": "warmup_samples",
    "window_steps": "smoothing_samples",
    "span_samples": "support_samples",
    "rests_on_place": "location_based",
    "report_level": "report_level",
    "a_contrario": "a_contrario",
    "alert_at": "fixed_threshold",
    "weight": "weight",
    "cause": "cause",
}
# An earlier detector of contradictions got these where it said nothing else.
_OLD_CONTRADICTION = {"report_level": True, "fixed_threshold": 2.5}


def _traits_of_attributes(detector: object, alert_type: AlertType) -> Traits:
    values: dict[str, Any] = dict(_OLD_CONTRADICTION) if alert_type is AlertType.CONTRADICTION else {}
    values |= {new: getattr(detector, old) for old, new in _OLD_NAMES.items() if hasattr(detector, old)}
    if not getattr(detector, "cell_calibrated", True):
        values["calibration"] = "global"
    if getattr(detector, "needs_training", False):
        values["training"] = "required"
    elif hasattr(detector, "trained"):
        values["training"] = "optional"
    return Traits(alert_type=alert_type, **values)


def _deprecated(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=3)
