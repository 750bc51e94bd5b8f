"""The machine that a run was made on, in words, and what it can do at most."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

PACKAGES = (
    "numpy",
    "scipy",
    "pyais",
    "pyproj",
    "tensorflow-cpu",
    "pyspark",
    "confluent-kafka",
    "faust-streaming",
    "numba",
)
PEAK_SIZE = 1024  # of the square matrices: large enough to hide all but the multiplication
PEAK_TRIES = 7


def describe() -> dict[str, Any]:
    """Processor, cores, memory, load, versions; no host name and no paths."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_1min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def sgemm_peak() -> float:
    """Greatest float32 multiplication rate of one core, FLOP/s, best of some tries."""
    return _peak(np.dtype(np.float32))


def dgemm_peak() -> float:
    """The same of float64."""
    return _peak(np.dtype(np.float64))


def _peak(dtype: np.dtype) -> float:
    a = np.random.default_rng(0).standard_normal((PEAK_SIZE, PEAK_SIZE)).astype(dtype)
    b, out = a.T.copy(), np.empty_like(a)
    best = 0.0
    with threadpool_limits(1, "blas"):
        for _ in range(PEAK_TRIES):
            began = time.process_time()
            np.matmul(a, b, out=out)
            best = max(best, 2.0 * PEAK_SIZE**3 / (time.process_time() - began))
    return best


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back_freed() -> None:
    """Ask the C library to return freed memory to the system, where it can (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
