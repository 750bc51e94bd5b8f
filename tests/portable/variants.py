"""Processors as one machine can play them: SIMD levels of NumPy, kernels and threads of OpenBLAS, numba there or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multitaskais.config import Region, TrackRules
from multitaskais.encounters.patterns import learn
from multitaskais.model.samples import load_reports
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_archive
from multitaskais.tracks.quality import screen

ROOT = Path(__file__).resolve().parents[2]
START = 1_767_225_600.0  # 2026-01-01
REAL_DAY = "data/noaa/ais_2020-01-01.parquet"  # within ../shared
TIMEOUT_S = 1200
WITHOUT_512 = "X86_V4 AVX512_ICL AVX512_SPR"
SIMD = {"all": "", "no AVX-512": WITHOUT_512, "baseline": f"X86_V3 {WITHOUT_512}"}
# OpenBLAS kernels, and what the processor must have to run them.
KERNELS = {
    "Haswell": ("avx2", "fma"),
    "SkylakeX": ("avx512f", "avx512bw", "avx512vl"),
    "Sandybridge": ("avx",),
    "Nehalem": ("sse4_2",),
    "Prescott": ("sse3", "pni"),
}
# What OpenBLAS calls a kernel that runs where that is not the name to ask for it.
REPORTED = {"Prescott": "Katmai"}
# Over the middle of the simulated traffic.
_BOX = [[[-5.6, 47.9], [-4.9, 47.9], [-4.9, 48.9], [-5.6, 48.9], [-5.6, 47.9]]]
ZONES = [
    {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": _BOX}}
    for properties in (
        {"name": "reserve", "rule": "enter"},
        {"name": "slow water", "rule": "slower", "speed_knots": 12.0},
    )
]


class Variant(NamedTuple):
    simd: str  # of ``SIMD``
    threads: int
    numba: bool
    kernel: str = ""  # of ``KERNELS``; empty: as the machine is set

    @property
    def name(self) -> str:
        numba = "numba" if self.numba else "no numba"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.kernel or 'kernel as set'}, {self.simd}, {threads}, {numba}"

    @property
    def kernel_reported(self) -> str:
        return REPORTED.get(self.kernel, self.kernel)

    def processor(self) -> dict[str, str]:
        """The environment that makes a process run as on such a processor."""
        env = {"OPENBLAS_NUM_THREADS": str(self.threads), "OMP_NUM_THREADS": str(self.threads)}
        if SIMD[self.simd]:
            env |= {"NPY_DISABLE_CPU_FEATURES": SIMD[self.simd], "PYTHONWARNINGS": "ignore"}
        if self.kernel:
            env["OPENBLAS_CORETYPE"] = self.kernel
        return env

    def environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if k != "NPY_DISABLE_CPU_FEATURES"}
        return env | self.processor() | {"PORTABLE_NUMBA": str(int(self.numba)), "PYTHONHASHSEED": str(self.threads)}


# Tests leave the kernel as the machine sets it: older OpenBLAS builds err on some processors with another one.
IN_TESTS = (
    Variant("all", 2, False),
    Variant("no AVX-512", 1, True),
    Variant("baseline", 2, False),
    Variant("all", 1, True),
)
ALL = (
    *IN_TESTS,
    *(
        Variant(simd, 1 + (i + j) % 2, (i + j) % 2 == 0, kernel)
        for i, kernel in enumerate(KERNELS)
        for j, simd in enumerate(SIMD)
    ),
)


class Ran(NamedTuple):
    variant: Variant
    out: Path
    error: str = ""  # of a variant that did not run

    def truth(self) -> dict:
        return json.loads((self.out / "truth.json").read_text())

    def files(self) -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in sorted(self.out.iterdir()) if f.name != "truth.json"}


def lacking(variant: Variant) -> str:
    """What the processor (or the installation) lacks for a variant; empty when it can run it."""
    if variant.numba:
        try:
            import numba  # noqa: F401
        except ImportError:
            return "numba is not installed"
    if not variant.kernel:
        return ""
    flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
    needed = KERNELS[variant.kernel]
    missing = [] if variant.kernel == "Prescott" and flags & set(needed) else [f for f in needed if f not in flags]
    return f"the processor has no {', '.join(missing)}" if missing else ""


def make_logs(folder: Path, vessels: int, abnormal: int, day: Path | None = None, every: int = 1) -> None:
    """A simulated day as archive and as log; of a real day every so many-th vessel.

    Made once: how ships are simulated rests on the machine's own sines, and is no part of the law.
    """
    traffic = simulate(
        Region.load("brittany"), SimulationSettings(START, 1, vessels, abnormal), np.random.default_rng(5)
    )
    write_archive(traffic, folder / "archive")
    log = traffic.reports[np.argsort(traffic.reports["t"], kind="stable")]
    np.save(folder / "log.npy", log)
    learn(log[screen(log, Region.load("brittany"), TrackRules()) == 0]).save(folder / "encounters.npz")
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": ZONES}))
    if day is not None:
        reports, _ = load_reports([str(day)], Region.load("gulf"), None)
        mine = np.unique(reports["mmsi"])[::every]
        reports = reports[np.isin(reports["mmsi"], mine)]
        np.save(folder / "real.npy", reports[np.argsort(reports["t"], kind="stable")])


def run(variants: Sequence[Variant], logs: Path, out: Path, at_once: int = 2) -> list[Ran]:
    """Each variant in a process of its own."""

    def one(item: tuple[int, Variant]) -> Ran:
        number, variant = item
        folder = out / str(number)
        if missing := lacking(variant):
            return Ran(variant, folder, missing)
        command = [sys.executable, "-m", "tests.portable.work", str(logs), str(folder)]
        done = subprocess.run(
            command, cwd=ROOT, env=variant.environment(), capture_output=True, text=True, timeout=TIMEOUT_S
        )
        if done.returncode < 0:
            return Ran(variant, folder, f"ended by signal {-done.returncode}")
        if done.returncode:
            raise RuntimeError(f"{variant.name}: {done.stderr[-4000:]}")
        return Ran(variant, folder)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, enumerate(variants)))


def differing(first: Ran, other: Ran) -> list[str]:
    """Names of the files that two variants wrote differently."""
    a, b = first.files(), other.files()
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
