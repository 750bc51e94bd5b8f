"""``python -m tests.faults [--faults N] [--seed S] [--short] [--kinds NAME ...]``: faults without end, and nothing that anyone can read changes.

A real broker behind a TCP proxy, two workers with the real core and model under load, and a seeded script of faults. In rounds: faults
while reports come in, then the end of input, then all that was made durable is compared with a run without faults, and with batch.
Ends with one summary (also OUT/summary.json). Exit code 0 only when every fault was survived and every round was exact.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stream_operator import devbroker
from tests.faults import kinds
from tests.faults.bed import Bed, Plan
from tests.faults.compare import compare
from tests.faults.summary import Summary
from tests.faults.traffic import FaultTraffic
from tests.support.worker import ENGINES

Fault = Callable[[Bed], None]
LEAST_TYPES = 6  # of alerts in each round, so that jumps alone do not stand for all


def script(rng: random.Random, count: int, only: list[str] | None, brokers: int = 1) -> list[Fault]:
    """So many faults in random order, each kind at least once where there is room, the rest by weight."""
    weights = {k: w for k, w in kinds.of(brokers).items() if not only or k.__name__ in only}
    total = sum(weights.values())
    chosen: list[Fault] = [k for k in weights for _ in range(max(1, round(count * weights[k] / total)))]
    if len(chosen) > count:
        chosen = rng.sample(chosen, count) if count < len(weights) else chosen
    while len(chosen) > count:  # rounding gave too many: those that come most often give way
        most = max(weights, key=chosen.count)
        chosen.remove(most)
    while len(chosen) < count:
        chosen.append(rng.choices(list(weights), list(weights.values()))[0])
    rng.shuffle(chosen)
    return chosen


def play(bed: Bed, faults: list[Fault], traffic: FaultTraffic, summary: Summary) -> None:
    """One round."""
    bed.begin(traffic)
    bed.went_on(within=120)
    failed: dict[int, str] = {}
    for number, fault in enumerate(faults):
        start = time.monotonic()
        try:
            fault(bed)
        except AssertionError as e:  # what it promises did not hold; the comparison still follows
            failed[number] = str(e)
        bed.keep_two_workers()
        emitted = f": FAILED: {failed[number]}" if number in failed else ""
        print(f"  {fault.__name__:<32}{time.monotonic() - start:6.1f} s{emitted}", flush=True)
    wrong = bed.finish()
    start = time.monotonic()
    want, differences = compare(bed.settings, bed.plan.engine, bed.open_states)
    took = time.monotonic() - start
    summary.round(faults, failed, want, differences, wrong)
    print(
        f"round of {len(faults)}: {want.reports:,} reports, {sum(want.alerts.values()):,} alert revisions, {len(want.verdicts):,} verdicts, "
        f"{len(want.states):,} states, {sum(want.dead.values()):,} dead letters, compared in {took:.0f} s: "
        + ("no difference" if differences.none else str(differences)) + "".join(f"; {w}" for w in wrong),
        flush=True,
    )  # fmt: skip
    bed.forget()


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=140, help="how many to make")
    parser.add_argument("--per-round", type=int, default=21, help="faults between two comparisons")
    parser.add_argument("--short", action="store_true", help="one round of a few quick kinds, a small fleet")
    parser.add_argument(
        "--kinds", nargs="*", choices=[k.__name__ for k in kinds.WEIGHTS | kinds.OF_SEVERAL], help="only these kinds"
    )
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="3: replicated, with faults of brokers")
    parser.add_argument("--partitions", type=int, default=Plan.partitions, help="of the source")
    parser.add_argument("--engine", default=Plan.engine, choices=ENGINES, help="the engine of the workers")
    parser.add_argument("--model", default=Plan.model)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="reports/s")
    parser.add_argument("--vessels", type=int, default=Plan.vessels, help="ships of a day of event time")
    parser.add_argument("--out", type=Path, default=Path("out/faults"))
    args = parser.parse_args()
    if (reason := devbroker.missing()) is not None:
        print(reason)
        return 2
    rng = random.Random(args.seed)
    plan = Plan(args.engine, args.model, args.rate, args.vessels, args.brokers, args.partitions)
    # As the page on delivery says: each partition's checkpoint is a transaction of its own.
    plan = replace(plan, checkpoint_interval_s=max(plan.checkpoint_interval_s, plan.partitions / 32))
    if args.short:
        plan = replace(plan, vessels=120, session_timeout_s=3.0)
        faults: list[Fault] = rng.sample(kinds.QUICK, len(kinds.QUICK))
    else:
        faults = script(rng, args.faults, args.kinds, args.brokers)
    summary = Summary(args.seed, plan)
    for fault in [f for f in faults if kinds.impossible(f)]:
        summary.skip(fault, str(kinds.impossible(fault)))
    faults = [f for f in faults if not kinds.impossible(f)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # workers and broker end with it
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bed = Bed(Path(folder), rng, plan)
        try:
            for first in range(0, len(faults), args.per_round):
                traffic = FaultTraffic(args.seed + first, plan.vessels, plan.partitions)
                play(bed, faults[first : first + args.per_round], traffic, summary)
                summary.take_times(bed)
                summary.write(args.out)
        except BaseException:
            print("--- logs of the last workers")
            for log in sorted(Path(folder).glob("worker-*.log"), key=lambda p: p.stat().st_mtime)[-3:]:
                print(log.name, log.read_text(errors="replace")[-2000:], sep="\n")
            raise
        finally:
            bed.close()
            summary.take_times(bed)
            summary.write(args.out)
            print(summary.text(), flush=True)
    if not args.short and args.engine == "product" and summary.fewest_types < LEAST_TYPES:
        print(
            f"a round has alerts of {summary.fewest_types} types, {LEAST_TYPES} are asked for: more --vessels, or more faults a round"
        )
        return 1
    return 0 if summary.exact else 1


if __name__ == "__main__":
    sys.exit(main())
