"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What ``/metrics`` of the score server shows."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        prefix = {"namespace": "score_server", "registry": r}
        self.requests = Counter("requests", "Answers of /v1/score, by status code.", ["status"], **prefix)
        self.reports = Counter("reports", "Reports that were judged.", **prefix)
        self.seconds = Histogram("seconds", "From request to answer of /v1/score (s).", buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30), **prefix)  # fmt: skip
        self.deaths = Counter("judge_deaths", "Judges that died.", **prefix)
        self.refused = Counter("models_refused", "Versions of the store that were refused.", **prefix)
        self._waiting = Gauge("waiting", "Requests that wait for a judge.", **prefix)
        self._judges = Gauge("judges", "Judges that live.", **prefix)
        self._store_age = Gauge("store_age_seconds", "Since the store was last seen; -1 without a store.", **prefix)
        self._models = Gauge("model", "1 for each version that answers.", ["name", "version"], **prefix)

    def text(self, waiting: int, judges: int, store_age_s: float | None, models: Mapping[str, str]) -> bytes:
        self._waiting.set(waiting)
        self._judges.set(judges)
        self._store_age.set(-1.0 if store_age_s is None else store_age_s)
        self._models.clear()
        for name, version in models.items():
            self._models.labels(name, version).set(1)
        return bytes(generate_latest(self.registry))
