"""What every detector must keep; for the tests of this package and of yours.

    from multitaskais.detection import checks as contract
    contract.check(MyDetector.fit(samples, region, rules), samples, region, rules)

Each check raises ``AssertionError`` with what was broken. ``samples`` are those of at least three lines, sorted by line.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..records import NotJudged
from ..types import Samples
from . import offline
from .protocol import Detector, Scores, steps, traits_of

Line = NDArray[np.void]
_PARTS = ("name", "state_dtype", "initial", "step", "fit", "save", "load")


def check(detector: Detector, samples: Samples, region: Region, rules: DetectionRules) -> None:
    """All checks."""
    lines = np.split(samples, offline.lines_of(samples)[0][1:])
    if len(lines) < 3:
        raise ValueError("give samples of at least three lines")
    check_face(detector)
    check_batch_is_stream(detector, lines)
    check_order_of_vessels(detector, lines)
    check_any_cut(detector, lines[0])
    check_blocks(detector, lines)
    check_no_look_ahead(detector, lines[0])
    check_abstention(detector, lines)
    check_missing_values(detector, lines[0])
    check_save_and_load(detector, samples, lines, region, rules)


def check_face(detector: Detector) -> None:
    traits_of(detector)
    missing = [part for part in _PARTS if not hasattr(detector, part)]
    assert not missing, f"parts of the Detector protocol are missing: {', '.join(missing)}"
    assert detector.name.isidentifier(), "the name must be an identifier: it names files and fields"
    assert not detector.state_dtype.hasobject, "the state must be a value: no Python objects"
    assert detector.initial(2).dtype == detector.state_dtype


def check_batch_is_stream(detector: Detector, lines: list[Line]) -> None:
    """A line's scores and states have the same bits alone and among others."""
    together = _run(detector, lines)
    for k, line in enumerate(lines):
        _same(_run(detector, [line])[0], together[k], f"line {k} alone and among others")


def check_order_of_vessels(detector: Detector, lines: list[Line]) -> None:
    forward, backward = _run(detector, lines), _run(detector, lines[::-1])
    for k in range(len(lines)):
        _same(forward[k], backward[-1 - k], f"line {k} with the vessels in another order")


def check_any_cut(detector: Detector, line: Line) -> None:
    """The state is a value: written to bytes and read back between any two samples, it goes on with the same bits."""
    whole = _run(detector, [line])[0]
    state = detector.initial(1)
    for k in range(len(line)):
        given = np.frombuffer(state.tobytes(), detector.state_dtype).copy() if state.dtype.itemsize else state
        after, scores = detector.step(given, line[k : k + 1])
        assert given.tobytes() == state.tobytes(), "a step changed the state that it was given"
        again, _ = detector.step(given, line[k : k + 1])
        assert again.tobytes() == after.tobytes(), "the same step twice gives two states"
        assert _bits(scores.score) == _bits(whole[k : k + 1]), f"sample {k} differs after a restart"
        state = after


def check_blocks(detector: Detector, lines: list[Line]) -> None:
    """Several steps of each line at once give the scores and the state of one after another."""
    n_steps = min(len(line) for line in lines)
    block = np.concatenate([line[k : k + 1] for k in range(n_steps) for line in lines])
    n = len(lines)
    for cut in sorted({0, 1, n_steps // 2}):
        one, state = detector.initial(n), detector.initial(n)
        found = []
        for k in range(n_steps):
            one, scores = detector.step(one, block[k * n : (k + 1) * n])
            found.append(scores)
        both = []
        for part in (block[: cut * n], block[cut * n :]):
            if len(part):
                state, scores = steps(detector, state, part)
                _well_formed(scores, len(part))
                both.append(scores)
        assert state.tobytes() == one.tobytes(), (
            f"{n_steps} steps cut at {cut} lead to another state than one after another"
        )
        for what in range(2):
            a, b = (np.concatenate([s[what] for s in side]).astype(np.float64) for side in (found, both))
            _same(a, b, f"{Scores._fields[what]} of {n_steps} steps cut at {cut}")
        a, b = (_parts(side) for side in (found, both))
        _same(a, b, f"parts of {n_steps} steps cut at {cut}")


def _parts(found: list[Scores]) -> NDArray[np.float64]:
    return np.concatenate([np.full((len(s.score), 4), np.nan) if s.parts is None else s.parts for s in found]).reshape(
        -1
    )


def check_no_look_ahead(detector: Detector, line: Line) -> None:
    whole = _run(detector, [line])[0]
    for cut in sorted({1, len(line) // 2, len(line) - 1}):
        _same(_run(detector, [line[:cut]])[0], whole[:cut], f"the first {cut} samples without those after")


def check_abstention(detector: Detector, lines: list[Line]) -> None:
    """A number or a reason, never both, never neither; moored samples are not judged."""
    warmup = traits_of(detector).warmup_samples
    moored = lines[0].copy()
    moored["moored"], moored["sog"], moored["made_30min"] = True, 0.0, 0.0
    for line in [*lines, moored]:
        state = detector.initial(1)
        for k in range(len(line)):
            state, scores = detector.step(state, line[k : k + 1])
            _well_formed(scores, 1)
            judged = not np.isnan(scores.score[0])
            assert judged == (scores.reason[0] == NotJudged.JUDGED), (
                f"sample {k}: score {scores.score[0]} with reason {scores.reason[0]}"
            )
            assert not judged or k >= warmup, f"sample {k} was judged before the warm-up of {warmup}"


def check_missing_values(detector: Detector, line: Line) -> None:
    for name in ("sog", "cog", "mismatch"):
        broken = line.copy()
        broken[name][::2] = np.nan
        score = _run(detector, [broken])[0]
        assert not np.isinf(score).any(), f"an infinite score where {name} is missing"
    nothing = line.copy()
    for name in ("sog", "cog", "mismatch"):
        nothing[name] = np.nan
    _run(detector, [nothing])


def check_save_and_load(
    detector: Detector, samples: Samples, lines: list[Line], region: Region, rules: DetectionRules
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / detector.name
        folder.mkdir()
        detector.save(folder)
        loaded = type(detector).load(folder, region, rules)
        for k, (a, b) in enumerate(zip(_run(detector, lines), _run(loaded, lines), strict=True)):
            _same(a, b, f"line {k} after save and load")
        check_names_no_vessel(folder, samples["mmsi"])


def check_names_no_vessel(folder: Path, mmsi: NDArray[np.int64]) -> None:
    """No file of a model folder holds an MMSI, as text or as a number in an array."""
    vessels = np.unique(mmsi[mmsi >= 10_000_000])
    for file in (f for f in folder.rglob("*") if f.is_file()):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                for key in arrays.files:
                    values = arrays[key]
                    if values.dtype.kind in "iuf":
                        assert not np.isin(values, vessels).any(), f"{file.name}: array {key!r} names a vessel"
        else:
            text = file.read_bytes()
            assert not any(str(v).encode() in text for v in vessels.tolist()), f"{file.name} names a vessel"


def _run(detector: Detector, lines: list[Line]) -> list[NDArray[np.float64]]:
    """Scores of each line, all lines stepping together."""
    marked = np.concatenate(lines)
    at = np.cumsum([0, *(len(line) for line in lines)])
    score = np.full(len(marked), np.nan)
    state = detector.initial(len(lines))
    for k in range(max(len(line) for line in lines)):
        here = np.array([i for i, line in enumerate(lines) if len(line) > k])
        state[here], scores = detector.step(state[here], marked[at[here] + k])
        _well_formed(scores, len(here))
        score[at[here] + k] = scores.score
    return [score[a:b] for a, b in pairwise(at.tolist())]


def _well_formed(scores: Scores, n: int) -> None:
    assert scores.score.shape == (n,), f"score of shape {scores.score.shape} for {n} lines"
    assert scores.score.dtype == np.float64, f"score of {scores.score.dtype}, not float64"
    assert scores.reason.shape == (n,), f"reason of shape {scores.reason.shape} for {n} lines"
    assert scores.parts is None or scores.parts.shape == (n, 4), "parts must be (n, 4)"


def _bits(x: NDArray[np.float64]) -> bytes:
    return np.where(np.isnan(x), np.nan, x).tobytes()


def _same(a: NDArray[np.float64], b: NDArray[np.float64], what: str) -> None:
    differ = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
    assert not len(differ), f"{what}: sample {differ[0]} has {a[differ[0]]!r} and {b[differ[0]]!r}"
