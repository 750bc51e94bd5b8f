"""What a run of faults came to: one table, and the same as JSON."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from stream_operator import exit_codes as exits
from tests.faults.bed import Bed, Plan
from tests.faults.compare import Differences, Truth

TAKEOVER_GOAL_S = 5.0  # beyond the session timeout
RETURN_GOAL_S = 15.0


class Summary:
    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed, self.plan = seed, plan
        self.made: Counter[str] = Counter()
        self.survived: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.totals: Counter[str] = Counter()
        self.differences: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.types: Counter[str] = Counter()  # alerts raised
        self.fewest_types = 99  # of a round
        self.times: dict[str, list[float]] = {}
        self.ended: dict[str, int] = {}

    def skip(self, fault: Callable, why: str) -> None:
        self.skipped[fault.__name__] = why

    def round(
        self, faults: Sequence[Callable], failed: dict[int, str], want: Truth, found: Differences, wrong: list[str]
    ) -> None:
        self.made.update(f.__name__ for f in faults)
        if found.none and not wrong:  # a round that is not exact survived none of its faults
            self.survived.update(f.__name__ for i, f in enumerate(faults) if i not in failed)
        self.wrong += [f"{faults[i].__name__}: {what}" for i, what in failed.items()] + wrong
        self.differences.update({k: v for k, v in vars(found).items() if isinstance(v, int)})
        self.types.update(want.types)
        self.fewest_types = min(self.fewest_types, len(want.types))
        self.totals.update(
            {
                "open_states": len(want.open_states), "open_tracks": want.open_tracks,
                "reports": want.reports, "alert_revisions": sum(want.alerts.values()), "verdicts": len(want.verdicts),
                "states": len(want.states), "dead_letters": sum(want.dead.values()),
            }
        )  # fmt: skip

    def take_times(self, bed: Bed) -> None:
        self.times = {"take_over_after_kill": bed.takeovers, "broker_return_picked_up": bed.returns}
        self.ended = {str(code): n for code, n in bed.ended.items()}

    @property
    def crashed(self) -> int:
        """Workers that ended otherwise than in order, or to be started again."""
        return sum(n for code, n in self.ended.items() if code not in ("0", str(exits.TEMPFAIL)))

    @property
    def exact(self) -> bool:
        return not self.crashed and not self.wrong and self.survived == self.made and not any(self.differences.values())

    def to_dict(self) -> dict:
        return {
            "seed": self.seed, "plan": asdict(self.plan), "faults_made": sum(self.made.values()),
            "faults_survived": sum(self.survived.values()), "kinds": {k: [self.survived[k], self.made[k]] for k in self.made},
            "alerts_by_type": dict(self.types), "fewest_types_of_a_round": self.fewest_types, "skipped": self.skipped, "totals": dict(self.totals), "differences": dict(self.differences), "wrong": self.wrong,
            "seconds": {k: _spread(v) | {"all": [round(s, 2) for s in v]} for k, v in self.times.items() if v},
            "ended_by_themselves": self.ended,
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    def text(self) -> str:
        d = self.differences
        lines = [f"{k:<34}{self.survived[k]:>4} of {n}" for k, n in sorted(self.made.items())]
        lines += [f"{k:<34}skipped: {why}" for k, why in self.skipped.items()]
        goals = {
            "take_over_after_kill": f"goal: session timeout {self.plan.session_timeout_s:g} s + {TAKEOVER_GOAL_S:g} s",
            "broker_return_picked_up": f"goal: {RETURN_GOAL_S:g} s",
        }
        for name, times in self.times.items():
            if times:
                s = _spread(times)
                lines.append(
                    f"{name.replace('_', ' ')}: median {s['median']:.1f} s, max {s['max']:.1f} s of {len(times)} ({goals[name]})"
                )
        lines += [f"workers that ended by themselves, by exit code: {self.ended or 'none'}"]
        lines += [f"wrong: {w}" for w in self.wrong]
        t = self.totals
        lines += [
            "alerts raised, by type: "
            + ", ".join(f"{k} {n}" for k, n in sorted(self.types.items()))
            + f"; in each round at least {self.fewest_types} types",
            f"states compared while tracks were open: {t['open_states']:,}, with {t['open_tracks']:,} open tracks; {d['open_states_wrong']} differ",
            f"{t['reports']:,} reports, {t['alert_revisions']:,} alert revisions, {t['verdicts']:,} verdicts, {t['states']:,} states, {t['dead_letters']:,} dead letters",
            f"faults survived / made: {sum(self.survived.values())} / {sum(self.made.values())}; reports lost {d['reports_not_read']}; "
            f"alerts missing {d['alerts_missing']}, false {d['alerts_false']}, twice {d['alerts_twice']}; differing: verdicts {d['verdicts_wrong']}, "
            f"states {d['states_wrong']}, dead letters {d['dead_letters_wrong']}; from batch: alerts {d['batch_alerts_differ']}, verdicts {d['batch_verdicts_differ']}",
        ]
        return "\n".join(lines)


def _spread(times: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 2), "max": round(max(times), 2)}
