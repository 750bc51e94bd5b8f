"""What the log calls for, and what the operator made durable.

The run without faults is the same engine run over each partition's log in one go, in this process, without Kafka: each revision,
verdict and state must be equal. The product's engine is also held against ``multitaskais.engine.batch`` over all reports in order of time:
the last revision of each alert and the last verdict of each vessel must be equal (docs/contract.md#alerts); reports that were refused
for their place in the log (late, ahead, behind) are left out there.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from multitaskais.engine import batch
from multitaskais.engine.events import Events
from multitaskais.model import folder as modelfolder
from multitaskais.records import Reason, Status
from stream_operator.kafka import codec as wire
from stream_operator.kafka.control import Watermark
from stream_operator.settings import Settings
from stream_operator.worker.checkpoint import restore
from stream_operator.worker.control_follower import follow
from stream_operator.worker.control_log import planned
from stream_operator.worker.partition import QUARANTINED
from tests.support.topic_reading import messages
from tests.support.worker import opener

RUN = 10_000
BY_ORDER = {Reason.FUTURE, Reason.BEHIND, Reason.LATE}  # rest on the order of arrival, which batch does not know


@dataclass
class Truth:
    reports: int = 0
    alerts: Counter[str] = field(default_factory=Counter)  # canonical JSON -> how often
    verdicts: dict[str, str] = field(default_factory=dict)
    dead: Counter[tuple] = field(default_factory=Counter)  # (partition, offset, reason)
    states: dict[int, bytes] = field(default_factory=dict)
    open_states: dict[int, bytes] = field(default_factory=dict)  # before the record that ends the input
    open_tracks: int = 0  # of that moment
    types: Counter[str] = field(default_factory=Counter)  # alerts raised, by type
    samples: Counter[bytes] = field(default_factory=Counter)
    log: list[np.ndarray] = field(default_factory=list)  # of each partition the reports that its order let through

    def take(self, events: Events) -> None:
        self.reports += events.counts.received
        self.samples.update(value for _, value in wire.encode_samples(events.samples))
        self.types.update(str(a.alert_type) for a in events.alerts if a.status == Status.RAISED)
        self.alerts.update(canonical(json.loads(wire.encode_alert(a)[1])) for a in events.alerts)
        self.verdicts.update((str(v.mmsi), canonical(json.loads(wire.encode_verdict(v)[1]))) for v in events.verdicts)


def truth(settings: Settings, engine: str) -> Truth:
    log: dict[int, list[wire.ConsumerRecord]] = defaultdict(list)
    for m in messages(settings, settings.topic):
        log[m.partition()].append(wire.ConsumerRecord(m.offset(), m.key(), m.value()))
    open_engine = opener(engine, settings)
    out = Truth()
    for number, records in log.items():
        fold = open_engine({}.items(), None)
        decoded = wire.decode(records, settings.record_max_bytes)
        taken = np.ones(len(decoded.reports), bool)
        for i, reason in decoded.bad:
            out.dead[number, records[i].offset, str(reason)] += 1
        done = 0
        states: dict[int, bytes] = {}
        # Where control records acted is in the state: what was decided, and not whether the worker was right to.
        restored = restore(settings, number)
        offsets = [records[i].offset for i in decoded.record_of]
        controls = [(bisect_left(offsets, at), record) for at, record in planned(restored, (), number)]
        for stop, record in [*controls, (len(decoded.reports), None)]:
            for start in range(done, stop, RUN):
                events = fold.process(decoded.reports[start : min(start + RUN, stop)])
                out.take(events)
                for i, reason in events.rejected:
                    taken[start + i] &= reason not in BY_ORDER
                    if reason in QUARANTINED:
                        out.dead[number, records[decoded.record_of[start + i]].offset, str(reason)] += 1
            done = stop
            if record is not None and isinstance(record.control, Watermark) and record.control.final:
                keep(states, fold.snapshot())
                out.open_states |= states
                out.open_tracks += sum(fold.open_track_counts().values())
            if record is not None and (events := follow(fold, record, restored.decisions)[0]) is not None:
                out.take(events)
        out.log.append(decoded.reports[taken])
        keep(states, fold.snapshot())
        out.states |= states
    return out


def keep(states: dict[int, bytes], changed: Mapping[int, bytes | None]) -> None:
    for mmsi, state in changed.items():
        if state is None:
            states.pop(mmsi, None)
        else:
            states[mmsi] = state


def canonical(value: dict) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass
class Differences:
    reports_not_read: int
    alerts_missing: int
    alerts_false: int
    alerts_twice: int
    verdicts_wrong: int
    dead_letters_wrong: int
    states_wrong: int
    open_states_wrong: int
    samples_wrong: int
    batch_alerts_differ: int
    batch_verdicts_differ: int
    examples: list[str]

    @property
    def none(self) -> bool:
        return not any(v for k, v in vars(self).items() if k != "examples")


def compare(settings: Settings, engine: str, open_states: Mapping[int, bytes]) -> tuple[Truth, Differences]:
    want = truth(settings, engine)
    alerts = Counter(canonical(json.loads(m.value())) for m in messages(settings, settings.alert_topic))
    verdicts = {m.key().decode(): canonical(json.loads(m.value())) for m in messages(settings, settings.verdict_topic)}
    dead: Counter[tuple] = Counter()
    for m in messages(settings, settings.dead_topic):
        head = {k: v.decode() for k, v in m.headers()}
        dead[int(head["partition"]), int(head["offset"]), head["reason"]] += 1
    states: dict[int, bytes] = {}
    left = 0
    ends: dict[int, int] = defaultdict(int)
    for m in messages(settings, settings.topic):
        ends[m.partition()] = max(ends[m.partition()], m.offset() + 1)
    for number, end in ends.items():
        restored = restore(settings, number)
        states |= restored.vessels
        left += end - (restored.offset or 0)
    samples = Counter(m.value() for m in messages(settings, settings.sample_topic))
    missing, extra = want.alerts - alerts, alerts - want.alerts
    batch_alerts, batch_verdicts = (
        against_batch(settings, want.log, alerts, verdicts) if engine == "product" else ([], [])
    )
    twice = sum(n for a, n in extra.items() if a in want.alerts)
    return want, Differences(
        reports_not_read=left,
        alerts_missing=sum(missing.values()),
        alerts_false=sum(extra.values()) - twice,
        alerts_twice=twice,
        verdicts_wrong=len(set(want.verdicts.items()) ^ set(verdicts.items())),
        dead_letters_wrong=sum(((want.dead - dead) + (dead - want.dead)).values()),
        states_wrong=sum(want.states.get(k) != states.get(k) for k in want.states.keys() | states.keys()),
        samples_wrong=sum(((want.samples - samples) + (samples - want.samples)).values()),
        open_states_wrong=sum(
            want.open_states.get(k) != open_states.get(k) for k in want.open_states.keys() | open_states.keys()
        ),
        batch_alerts_differ=len(batch_alerts),
        batch_verdicts_differ=len(batch_verdicts),
        examples=[f"batch {a}" for a in [*batch_alerts, *batch_verdicts][:3]]
        + [f"missing {a}" for a in list(missing)[:3]]
        + [f"extra {a}" for a in list(extra)[:3]],
    )


def last_revisions(values: Iterable[dict]) -> set[str]:
    """The last revision of each alert, without what another order of arrival may change."""
    last: dict[str, dict] = {}
    for a in values:
        if a["alert_id"] not in last or a["revision"] > last[a["alert_id"]]["revision"]:
            last[a["alert_id"]] = a
    return {canonical({k: v for k, v in a.items() if k not in ("revision", "decided_at")}) for a in last.values()}


def against_batch(
    settings: Settings, log: list[np.ndarray], alerts: Iterable[str], verdicts: dict[str, str]
) -> tuple[list[str], list[str]]:
    """What differs from ``multitaskais.engine.batch.run`` over the same reports."""
    # Partition by partition: whether a station's clock is wrong is said of the ships of one.
    results = [batch.run(modelfolder.load(settings.model), reports) for reports in log]
    want = last_revisions(json.loads(wire.encode_alert(a)[1]) for result in results for a in result.alerts)
    in_batch = [v for result in results for v in result.verdicts]
    emitted = {v.track_id: canonical(json.loads(wire.encode_verdict(v)[1])) for v in in_batch}
    differ = [v for v in verdicts.values() if emitted.get(json.loads(v)["track_id"]) != v]
    missing = {str(v.mmsi) for v in in_batch} - verdicts.keys()
    return sorted(want ^ last_revisions(json.loads(a) for a in alerts)), differ + sorted(missing)
