"""One transmission that an archive holds again minutes later counts once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.ais.encode import cdv_lines
from multitaskais.config import TrackRules
from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.model.samples import load_reports
from multitaskais.records import Reason
from multitaskais.tracks import copies
from multitaskais.tracks.copies import CopyMemory, late_copies
from tests.support.builders import merged, sail

RULES = TrackRules()


def fleet(lo: float, hi: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, int]:
    """Straight ships; the same with half of their reports once more, ``lo`` to ``hi`` seconds later; how many these are."""
    rng = np.random.default_rng(seed)
    ships = []
    for i in range(6):
        ship = sail(
            100,
            60.0,
            mmsi=227_000_001 + i,
            lat=48.00037 + 0.15 * i,
            lon=-5.50041,
            sog=12.0 + i % 3,
            cog=rng.uniform(0, 360),
            heading=90.0,
        )
        ship["lat"], ship["lon"] = np.round(ship["lat"], 6), np.round(ship["lon"], 6)
        ship["second"] = ship["t"] % 60
        ships.append(ship)
    true = merged(*ships)
    again = true[rng.random(len(true)) < 0.5].copy()
    again["t"] = np.round(again["t"] + rng.uniform(lo, hi, len(again)))
    return true, merged(true, again), len(again)


@pytest.mark.parametrize("span", [(31, 90), (120, 600), (3000, 4000)])
def test_copies_at_any_delay_are_those_that_came_again_and_raise_no_alert(span: tuple[float, float]) -> None:
    true, heard, n = fleet(*span)
    late = late_copies(heard, RULES)
    assert late.sum() == n
    np.testing.assert_array_equal(heard[~late], true)
    assert batch.run(modelfolder.load("anywhere"), heard[~late]).alerts == []


def written(path: Path, heard: np.ndarray) -> Path:
    """The sentence is that of the transmission, the stamp in front that of who received it again."""
    own = heard.copy()
    own["t"] = own["t"] // 60 * 60 + own["second"]  # any minute will do: a sentence holds the second alone
    stamps, sentences = (cdv_lines(x).tobytes().split(b"\n") for x in (heard, own))
    path.write_bytes(b"\n".join(s[:20] + line[20:] for s, line in zip(stamps, sentences, strict=True)))
    return path


def test_an_archive_is_read_without_them_and_they_are_counted(tmp_path: Path) -> None:
    true, heard, n = fleet(120, 600)
    reports, counts = load_reports(written(tmp_path / "a.cdv", heard), None)
    assert len(reports) == len(true)
    assert counts.rejected == {Reason.DUPLICATE: n}
    assert counts.received == counts.accepted + n == len(heard)


@given(st.integers(0, 2**32 - 1))
def test_no_report_without_a_copy_is_lost_and_the_order_does_not_matter(seed: int) -> None:
    true, heard, _ = fleet(31, 600, seed % 7)
    assert not late_copies(true, RULES).any()
    order = np.random.default_rng(seed).permutation(len(heard))
    np.testing.assert_array_equal(late_copies(heard[order], RULES), late_copies(heard, RULES)[order])


def test_ships_that_lie_still_and_reports_without_their_own_second_have_no_copies() -> None:
    _, heard, _ = fleet(120, 600)
    still, unknown = heard.copy(), heard.copy()
    still["sog"] = 0.2
    unknown["second"] = -1
    assert not late_copies(still, RULES).any()
    assert not late_copies(unknown, RULES).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 60), (31, 600), (3000, 80_000)]))
def test_read_in_order_of_time_and_not_held_an_archive_has_the_same_copies(
    seed: int, span: tuple[float, float]
) -> None:
    _, heard, _ = fleet(*span, seed % 7)
    heard = heard[np.argsort(heard["t"], kind="stable")]
    memory = CopyMemory(RULES)
    found = [memory.is_late_copy(row) for row in heard.tolist()]
    np.testing.assert_array_equal(found, late_copies(heard, RULES))


def test_the_memory_of_copies_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "KEPT_MAX", 50)
    true, _, _ = fleet(31, 90)
    memory = CopyMemory(RULES)
    assert not any(memory.is_late_copy(row) for row in true.tolist())
    assert len(memory._first) <= 50
    last = [*true[-1].tolist()]
    last[1] += 100.0
    assert memory.is_late_copy(tuple(last))
