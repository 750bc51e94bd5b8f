"""What every benchmark is made of: two sides, asserted equal, timed in turns; one ``Result`` a claim.

    def run(quick: bool) -> list[Result]        # each benchmark file has this, and nothing else is asked of it

A claim is a ratio against a named reference, measured in the same run: machines differ, and so do their hours; ratios move less. The
two sides take turns (ours, reference, ours, ...), so that what disturbs the machine disturbs both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

MIN_S = 0.02  # a side is repeated within its round until it took so long: clocks and caches settle


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        ours, theirs: units of work per second, medians over the rounds; NaN where there is no such side.
        ratio: ours / theirs, median of the rounds' own ratios; with ``at_most`` whatever the claim bounds from above.
        goal: what the ratio must reach (or, with ``at_most``, stay below); None for a figure that is told and not judged.
        same: what was asserted before the clock started.
        notes: further figures and what limits the ratio, one sentence each.
        figures: numbers for plots and for ``docs/scale.md``.
    """

    name: str
    work: str
    reference: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    ratio_min: float
    ratio_max: float
    rounds: int
    goal: float | None = None
    at_most: bool = False
    same: str = ""
    notes: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        values = {k: v for k, v in values.items() if k != "met"}
        return cls(**values | {"notes": tuple(values["notes"])})


def seconds(work: Callable[[], Any], least_s: float = MIN_S) -> float:
    """Seconds of a core that one call takes (of all threads of this process), of as many calls as ``least_s`` needs.

    Processor time, not the clock on the wall: what else the machine does must not be counted on either side.
    """
    calls, began = 0, time.process_time()
    while True:
        work()
        calls += 1
        if (passed := time.process_time() - began) >= least_s:
            return passed / calls


def compare(
    name: str,
    *,
    work: str,
    reference: str,
    unit: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    units: float,
    their_units: float | None = None,
    rounds: int,
    goal: float | None = None,
    same: str = "",
    notes: tuple[str, ...] = (),
    figures: dict[str, Any] | None = None,
) -> Result:
    """Time both sides in turns. One call of ``ours`` does ``units`` of work, one of ``theirs`` ``their_units`` (default: the same).

    The caller has asserted that both give the same answer, which also warmed both up.
    """
    pairs = []
    for _ in range(rounds):
        mine = units / seconds(ours)
        pairs.append((mine, (their_units or units) / seconds(theirs)))
    return of_rates(
        name, pairs, work=work, reference=reference, unit=unit, goal=goal, same=same, notes=notes, figures=figures
    )


def of_rates(
    name: str,
    pairs: list[tuple[float, float]],
    *,
    work: str,
    reference: str,
    unit: str,
    goal: float | None = None,
    same: str = "",
    notes: tuple[str, ...] = (),
    figures: dict[str, Any] | None = None,
) -> Result:
    """The result of (our rate, their rate) of each round."""
    ratios = [a / b for a, b in pairs]
    return Result(
        name,
        work,
        reference,
        unit,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        len(pairs),
        goal,
        False,
        same,
        notes,
        figures or {},
    )


def figure(
    name: str,
    *,
    work: str,
    unit: str,
    value: float,
    goal: float | None = None,
    reference: str = "-",
    notes: tuple[str, ...] = (),
    figures: dict[str, Any] | None = None,
) -> Result:
    """A claim that bounds a plain figure from above (bytes, a share of cost): the figure stands in place of the ratio."""
    nan = float("nan")
    return Result(
        name, work, reference, unit, nan, nan, value, value, value, 1, goal, True, "", notes, figures or {}
    )  # fmt: skip


def require(holds: bool, what: str) -> None:
    """Both sides must give the same answer before anything is timed; ``-O`` must not switch this off."""
    if not holds:
        raise AssertionError(f"the two sides do not give the same answer: {what}")
