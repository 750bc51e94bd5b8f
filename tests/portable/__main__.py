"""``python -m tests.portable [--vessels N] [--kernels NAME ...]``: the law under all processors that this machine can play, as a table.

Each variant (SIMD level of NumPy, kernel and threads of OpenBLAS, with and without numba) runs a simulated day, and a real one where
``../shared`` is, through ``detect`` and through the fold in pieces, and the contract of all detectors, in a process of its own. All
alerts, states, verdicts, samples and scores must have the same bytes. Exit code 0 when they have, 1 when not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.conftest import shared_path
from tests.portable import variants


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.portable", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vessels", type=int, default=100, help="of the simulated day (default %(default)s)")
    parser.add_argument(
        "--every", type=int, default=6, help="of the real day each so many-th vessel (default %(default)s)"
    )
    parser.add_argument("--kernels", nargs="*", choices=list(variants.KERNELS), help="only these (default: all)")
    parser.add_argument("--at-once", type=int, default=2, help="processes side by side (default %(default)s)")
    args = parser.parse_args()
    wanted = [v for v in variants.ALL if args.kernels is None or not v.kernel or v.kernel in args.kernels]
    shared = shared_path()
    day = shared / variants.REAL_DAY if shared is not None and (shared / variants.REAL_DAY).is_file() else None
    with tempfile.TemporaryDirectory(prefix="portable-") as name:
        folder = Path(name)
        variants.make_logs(folder, args.vessels, args.vessels // 4, day, args.every)
        print(f"a simulated day of {args.vessels} ships; " + (f"a real day, 1 of {args.every} ships" if day else "no real day: no ../shared"))  # fmt: skip
        ran = variants.run(wanted, folder, folder / "out", args.at_once)
        return table(ran)


def table(ran: list[variants.Ran]) -> int:
    """Print what ran, under what in truth, and what was compared; the exit code."""
    print(f"{'asked for':<46}{'ran under':<44}{'revisions':>10}{'states':>8}  result")
    first = next(r for r in ran if not r.error)
    count: Counter[str] = Counter()
    for one in ran:
        if one.error:
            count["not run"] += 1
            print(f"{one.variant.name:<46}{'-':<44}{'-':>10}{'-':>8}  not run: {one.error}")
            continue
        truth = one.truth()
        numba = "numba" if truth["numba"] else "no numba"
        under = f"{truth['kernel']}, {truth['simd']}, {truth['threads']} threads, {numba}"
        differ = variants.differing(first, one)
        said = "the first" if one is first else "differs: " + ", ".join(differ) if differ else "equal"
        count["differ" if differ else "equal"] += 1
        if one.variant.kernel and one.variant.kernel_reported not in truth["kernel"]:
            said += f" (asked for {one.variant.kernel})"
        print(f"{one.variant.name:<46}{under:<44}{truth['revisions']:>10,}{truth['states']:>8,}  {said}")
    detectors = first.truth()["detectors"]
    print(
        f"{count['equal']} variants equal, {count['differ']} different, {count['not run']} not run; contract of {detectors} detectors checked in each"
    )
    return 1 if count["differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
