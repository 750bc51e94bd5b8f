"""The operator's settings: one frozen object from a TOML file and the environment, checked before anything starts.

The environment goes before the file. ``python -m stream_operator settings`` prints the table that is made from this class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from multitaskais.environment import value_of
from multitaskais.errors import ConfigError
from multitaskais.settings import ProcessSettings, setting

FILE_VARIABLE = "SETTINGS_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProcessSettings):
    """Of the worker, the map and every command. Raises ``ConfigError`` as ``ProcessSettings`` does, and where two settings contradict."""

    PORTS = ("health_port", "meetings_port", "map_port")
    LISTED_BY = "python -m stream_operator settings"

    # what is judged, and by what
    app_id: str = setting(
        "multitaskais",
        "Name of this operator: group id, prefix of the transactional ids and of the state topic. Workers with the same name share the partitions.",
    )
    model: str = setting(
        "brittany",
        "Model: a shipped model's name, a model folder, or `store:NAME[@VERSION]`. Where a state is stored, the model that it names goes on (`python -m stream_operator model` changes it).",
    )
    challenger: str = setting("", "A second model that runs beside the first; its alerts carry `challenger: true`.")
    lost_model: str = setting(
        "stop",
        "When the model that the stored state names cannot be found: `stop`, or `replace` it with MODEL (its tracks start again, open alerts receive no further updates).",
        choices=("stop", "replace"),
    )
    store_url: str = setting("", "Model store for `store:NAME`: a folder, or `s3://BUCKET/PREFIX`.")
    store_endpoint: str = setting("", "Address of an S3 server that is not Amazon's.")
    store_region: str = setting("", "Region of the store's bucket. Empty: us-east-1.")
    store_key: str = setting("", "Access key of the store.", secret=True)
    store_secret: str = setting("", "Secret key of the store.", secret=True)
    store_cache: str = setting(
        "", "Folder in which fetched models are kept. Empty: `.cache/multitaskais/models` in the home folder."
    )
    min_timespan: float | None = setting(
        None, "Least time (s) that a track must span before it may be judged. Empty: the model's own (7200).", least=0
    )
    speed_max: float | None = setting(
        None, "Reports with a greater speed over ground (kn) are left out. Empty: the model's own (30).", least=1
    )
    interval_max: float | None = setting(
        None, "A silence of more than this (s) ends a track. Empty: the model's own (7200).", least=121
    )
    output_dir: str = setting(
        "",
        "When set: each durable alert is also appended to alerts.jsonl in this folder (a convenience copy; the topic is the truth).",
    )

    # the broker
    bootstrap_servers: str = setting("127.0.0.1:9092", "Kafka brokers, `host:port`, separated by commas.")
    security_protocol: str = setting(
        "PLAINTEXT", "Kafka security protocol.", choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    )
    sasl_mechanism: str = setting(
        "SCRAM-SHA-256", "SASL mechanism.", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    sasl_username: str = setting("", "SASL user.")
    sasl_password: str = setting("", "SASL password.", secret=True)
    ssl_ca_location: str = setting(
        "", "File of the CA certificates (PEM) that the brokers are checked with. Empty: those of the system."
    )
    ssl_certificate_location: str = setting("", "Client certificate (PEM), for mutual TLS.")
    ssl_key_location: str = setting("", "Private key of the client certificate (PEM).")
    ssl_key_password: str = setting("", "Password of the private key.", secret=True)

    # topics
    topic: str = setting("ais.dynamic", "Source: position reports, keyed by MMSI.")
    alert_topic: str = setting("ais.alerts", "Alerts, each revision one record.")
    verdict_topic: str = setting("ais.verdicts", "Per vessel its present verdict (compacted).")
    sample_topic: str = setting(
        "ais.samples", "Each 10-minute sample of each vessel with its judgement; `topics` keeps them for 7 days."
    )
    samples: str = setting(
        "on", "`off`: write no samples; the map's charts then show the verdicts alone.", choices=("on", "off")
    )
    dead_topic: str = setting("ais.dead", "Records that could not be decoded, with reason and origin.")
    feedback_topic: str = setting("ais.feedback", "What watch officers say about alerts.")
    control_topic: str = setting(
        "ais.control", "What feeds and persons tell the workers: watermarks, models, zones. Give it rights of its own."
    )
    state_topic: str = setting("", "Vessel states and source offsets (compacted). Empty: `APP_ID`.state.")
    partitions: int = setting(
        4, "Partitions that `topics` creates. The state topic always has as many as the source.", least=1
    )
    replication_factor: int = setting(1, "Replicas that `topics` creates.", least=1)
    retention_hours: float = setting(
        168.0, "How long `topics` keeps source and dead letters (h); alerts and feedback are kept for a year.", least=1
    )

    # pace
    checkpoint_interval_s: float = setting(
        1.0, "A checkpoint so often, in s (1 at 4-16 partitions, 2-5 at 64).", least=0.05
    )
    run_size: int = setting(4000, "Most records in one run of the agent: longer ones cost less a report.", least=1)
    queue_runs: int = setting(8, "Runs that may wait for the agent; then reading stops.", least=1)
    record_max_bytes: int = setting(65536, "A longer record is a dead letter (`too_large`).", least=200)
    state_max_bytes: int = setting(
        2097152, "Largest vessel state (bytes); `topics` allows records of this size.", least=65536
    )
    session_timeout_s: float = setting(
        10.0,
        "A worker that is not heard from for so long loses its partitions (the broker's group.min.session.timeout.ms, 6 s unless changed, is the least).",
        least=1,
    )
    group_protocol: str = setting(
        "classic",
        "How workers share the partitions: `classic`, or `consumer` (KIP-848, brokers from Kafka 4.0 on; SESSION_TIMEOUT_S is then the brokers' group.consumer.session.timeout.ms). Equal for all workers.",
        choices=("classic", "consumer"),
    )
    transaction_timeout_s: float = setting(
        180.0,
        "The broker ends a checkpoint that is open for so long; keep it three times the outage to ride out.",
        least=10,
    )
    outage_max_s: float = setting(
        60.0,
        "Longest outage of the broker to ride out. A transactional call that hangs three times as long ends the process.",
        least=1,
    )
    stop_timeout_s: float = setting(8.0, "SIGTERM: the last checkpoint may take so long.", least=0.5)

    # watching it
    health_bind: str = setting("127.0.0.1", "Address of /health, /ready and /metrics.")
    health_port: int = setting(6066, "Their port.", least=1)
    meetings_port: int = setting(6067, "Port of the same pages of `meetings`.", least=1)
    ready_age_s: float = setting(30.0, "/ready says no when something has waited for a checkpoint for longer.", least=1)
    map_bind: str = setting("127.0.0.1", "Address of the map. Any other than this machine's own needs MAP_TOKEN.")
    map_port: int = setting(8080, "Port of the map.", least=1)
    map_token: str = setting("", "What a browser must present to see the map (16 characters or more).", secret=True)
    log_format: str = setting("console", "Form of the log.", choices=("console", "json"))
    log_level: str = setting("INFO", "Least level that is logged.", choices=("DEBUG", "INFO", "WARNING", "ERROR"))

    def __post_init__(self) -> None:
        ProcessSettings.__post_init__(self)
        for name in (
            "app_id",
            "model",
            "bootstrap_servers",
            "topic",
            "alert_topic",
            "verdict_topic",
            "sample_topic",
            "dead_topic",
            "feedback_topic",
            "control_topic",
        ):
            if not getattr(self, name):
                raise ConfigError(f"{name.upper()} must not be empty")
        topics = [
            self.topic,
            self.alert_topic,
            self.verdict_topic,
            self.sample_topic,
            self.dead_topic,
            self.feedback_topic,
            self.control_topic,
            self.states,
        ]
        if len(set(topics)) < len(topics):
            raise ConfigError(
                f"two of the topics have one name: {', '.join(sorted(t for t in set(topics) if topics.count(t) > 1))}"
            )
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ConfigError(f"SECURITY_PROTOCOL={self.security_protocol} needs SASL_USERNAME and SASL_PASSWORD")
        for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"):
            if (path := getattr(self, name)) and not Path(path).is_file():
                raise ConfigError(f"{name.upper()}={path}: no such file")
        if self.transaction_timeout_s < self.outage_max_s:
            raise ConfigError("TRANSACTION_TIMEOUT_S must be at least OUTAGE_MAX_S (better three times as long)")

    @property
    def states(self) -> str:
        """Name of the state topic."""
        return self.state_topic or f"{self.app_id}.state"

    @property
    def keeps_samples(self) -> bool:
        """Whether each sample is written to ``sample_topic``."""
        return self.samples == "on"

    @property
    def fleet_states(self) -> str:
        """Name of the state topic of ``meetings``."""
        return f"{self.app_id}.meetings"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, file: Path | None = None, **overrides: Any) -> Self:
        """As ``ProcessSettings.load``; without ``file`` from the one that ``SETTINGS_FILE`` names. ``environ``: this process's own when None."""
        environ = os.environ if environ is None else environ
        if file is None and (named := value_of(environ, FILE_VARIABLE)):
            file = Path(named)
        return super(Settings, cls).load(environ, file, **overrides)
