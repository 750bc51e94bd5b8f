"""What each variant runs: the whole thread from an archive to alerts and states. ``python -m tests.portable.work LOGS OUT``

LOGS holds ``archive/`` (NMEA lines of a simulated day), ``log.npy`` (its reports in order of arrival) and, where real data are,
``real.npy``. All files written to OUT but ``truth.json`` must have the same bytes whatever ran them.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

# Before anything else is imported: NumPy and OpenBLAS choose their kernels then.
if os.environ.get("PORTABLE_NUMBA") == "0":
    sys.modules["numba"] = None  # type: ignore[assignment]

import numpy as np
from threadpoolctl import threadpool_info

from multitaskais.ais.vectorized.block import compiled_kernel
from multitaskais.ais.vectorized.positions import numpy_kernel
from multitaskais.cli import main
from multitaskais.detection import checks
from multitaskais.encounters.patterns import Patterns
from multitaskais.engine import batch
from multitaskais.engine.engine import PartitionEngine
from multitaskais.exact.tables import expect_much
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.model.samples import load_reports, samples_of
from multitaskais.types import Reports
from multitaskais.zones.zone import read_zones_file

SIMULATED, REAL = "brittany", "gulf"
CUTS = 7
CONTRACT_LINES, CONTRACT_SAMPLES = 4, 30


def truth() -> dict[str, Any]:
    """What really runs here."""
    from numpy._core._multiarray_umath import __cpu_features__ as features

    simd = [f for f in ("X86_V3", "X86_V4", "AVX512_SPR") if features.get(f)]
    blas = [i for i in threadpool_info() if i["user_api"] == "blas"]
    return {
        "simd": simd[-1] if simd else "X86_V2" if platform.machine() == "x86_64" else platform.machine(),
        "kernel": " ".join(sorted({str(i.get("architecture")) for i in blas})),
        "threads": max(i["num_threads"] for i in blas),
        "numba": compiled_kernel() is not numpy_kernel,
    }


def write_lines(file: Path, rows: list[Any]) -> int:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)


def detect(logs: Path, out: Path) -> int:
    """The command over the archive: (revisions)."""
    import pyarrow.parquet as pq

    main(["detect", str(logs / "archive"), "--model", SIMULATED, "--out", str(out / "detect"), "--json"])
    (out / "detect" / "alerts.jsonl").replace(out / "detect.alerts.jsonl")
    (out / "detect" / "alerts.geojson").replace(out / "detect.alerts.geojson")
    write_lines(out / "detect.verdicts.jsonl", pq.read_table(out / "detect" / "verdicts.parquet").to_pylist())
    for file in (out / "detect").iterdir():
        file.unlink()
    (out / "detect").rmdir()
    return len((out / "detect.alerts.jsonl").read_text().splitlines())


def fold(model: Model, log: Reports, out: Path, name: str) -> tuple[int, int]:
    """The fold in pieces, each going on from the bytes of the one before: (revisions, states)."""
    engine, stored, told, said = PartitionEngine(model), {}, [], []
    partition = b""
    for part in np.array_split(log, CUTS):
        events = engine.process(part)
        told += events.alerts
        said += events.verdicts
        stored.update(engine.snapshot())
        partition = engine.partition_state()
        engine = PartitionEngine(model)
        engine.restore(((m, s) for m, s in stored.items() if s is not None), partition)
    states = {mmsi: blob for mmsi, blob in sorted(stored.items()) if blob is not None}
    write_lines(out / f"{name}.states.jsonl", [[m, blob.hex()] for m, blob in states.items()] + [partition.hex()])
    events = engine.advance_watermark(float(log["t"].max()) + 3 * 86400.0)
    told += events.alerts
    write_lines(out / f"{name}.verdicts.jsonl", [repr(v) for v in said + events.verdicts])
    return write_lines(out / f"{name}.alerts.jsonl", [a.as_dict() for a in told]), len(states)


def encounters(model: Model, logs: Path, out: Path, log: Reports) -> int:
    """Meetings, silences and zones over the log: (revisions)."""
    usual = dataclasses.replace(model, patterns=Patterns.load(logs / "encounters.npz"))
    zones = read_zones_file(logs / "zones.geojson")
    alerts = batch.run_fleet(usual, log, zones).alerts
    return write_lines(out / "encounters.alerts.jsonl", [a.as_dict() for a in alerts])


def contract(model: Model, log: Reports, out: Path) -> int:
    """All checks of every detector of the panel, and the bytes of its scores and states."""
    samples, _, _ = samples_of(log, model.region, model.track_rules, model.detection_rules, all_tracks=True)
    (out / "samples.txt").write_text(hashlib.sha256(samples.tobytes()).hexdigest() + "\n")
    start = np.flatnonzero((np.diff(samples["mmsi"], prepend=0) != 0) | (samples["n"] == 0))
    lines = [line for line in np.split(samples, start[1:]) if len(line) >= CONTRACT_SAMPLES]
    some = np.concatenate([line[:CONTRACT_SAMPLES] for line in lines[:CONTRACT_LINES]])
    rows = []
    for detector in model.panel.detectors:
        checks.check(detector, some, model.region, model.detection_rules)
        state, digest = detector.initial(len(lines)), hashlib.sha256()
        for k in range(CONTRACT_SAMPLES):
            state, scores = detector.step(state, np.array([line[k] for line in lines]))
            digest.update(scores.score.tobytes() + scores.reason.tobytes() + state.tobytes())
        rows.append([detector.name, digest.hexdigest()])
    return write_lines(out / "detectors.jsonl", rows)


def run(logs: Path, out: Path) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    reports, _ = load_reports([str(logs / "archive")], None, None)
    (out / "reports.txt").write_text(hashlib.sha256(reports.tobytes()).hexdigest() + "\n")
    log, model = np.load(logs / "log.npy"), modelfolder.load(SIMULATED)
    told, states = fold(model, log, out, "fold")
    told += detect(logs, out) + encounters(model, logs, out, log)
    found = {"revisions": told, "states": states, "detectors": contract(model, log, out)}
    if (logs / "real.npy").exists():
        real = np.load(logs / "real.npy")
        gulf = modelfolder.load(REAL)
        told, states = fold(gulf, real, out, "real")
        alerts = batch.run(gulf, real).alerts
        found["revisions"] += told + write_lines(out / "real.batch.alerts.jsonl", [a.as_dict() for a in alerts])
        found["states"] += states
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    expect_much()  # the compiled look-up from the first value on, where there is one
    result = run(given.logs, given.out)
    (given.out / "truth.json").write_text(json.dumps(truth() | result))
