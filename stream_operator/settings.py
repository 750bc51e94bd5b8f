"""The operator's settings: one frozen object from a TOML file and the environment, checked before anything starts.

Each field's environment variable is its name in capitals after ``MULTITASKAIS_`` (``bootstrap_servers`` ->
``MULTITASKAIS_BOOTSTRAP_SERVERS``), or the name in capitals alone; the one with the prefix goes first. The environment goes before the file. ``python -m stream_operator settings`` prints the table that is made from this class.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from multitaskais.environment import PREFIX, value_of, variable_of
from multitaskais.errors import ConfigError

FILE_VARIABLE = "SETTINGS_FILE"


def _field(
    default: Any, doc: str, *, least: float | None = None, choices: tuple[str, ...] = (), secret: bool = False
) -> Any:
    return dataclasses.field(
        default=default, repr=not secret, metadata={"doc": doc, "least": least, "choices": choices, "secret": secret}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    # what is judged, and by what
    app_id: str = _field(
        "multitaskais",
        "Name of this operator: group id, prefix of the transactional ids and of the state topic. Workers with the same name share the partitions.",
    )
    model: str = _field(
        "brittany",
        "Model: a shipped model's name, a model folder, or `store:NAME[@VERSION]`. Where a state is stored, the model that it names goes on (`python -m stream_operator model` changes it).",
    )
    challenger: str = _field(
        "", "A second model that runs silently beside the first; its alerts carry `challenger: true`."
    )
    lost_model: str = _field(
        "stop",
        "When the model that the stored state names cannot be found: `stop`, or `replace` it with MODEL (its tracks start again, open alerts receive no further updates).",
        choices=("stop", "replace"),
    )
    store_url: str = _field("", "Model store for `store:NAME`: a folder, or `s3://BUCKET/PREFIX`.")
    store_endpoint: str = _field("", "Address of an S3 server that is not Amazon's.")
    store_region: str = _field("", "Region of the store's bucket. Empty: us-east-1.")
    store_key: str = _field("", "Access key of the store.", secret=True)
    store_secret: str = _field("", "Secret key of the store.", secret=True)
    store_cache: str = _field(
        "", "Folder in which fetched models are kept. Empty: `.cache/multitaskais/models` in the home folder."
    )
    min_timespan: float | None = _field(
        None, "Least time (s) that a track must span before it may be judged. Empty: the model's own (7200).", least=0
    )
    speed_max: float | None = _field(
        None, "Reports with a greater speed over ground (kn) are left out. Empty: the model's own (30).", least=1
    )
    interval_max: float | None = _field(
        None, "A silence of more than this (s) ends a track. Empty: the model's own (7200).", least=121
    )
    output_dir: str = _field(
        "",
        "When set: each durable alert is also appended to alerts.jsonl in this folder (a convenience copy; the topic is the truth).",
    )

    # the broker
    bootstrap_servers: str = _field("127.0.0.1:9092", "Kafka brokers, `host:port`, separated by commas.")
    security_protocol: str = _field(
        "PLAINTEXT", "Kafka security protocol.", choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    )
    sasl_mechanism: str = _field(
        "SCRAM-SHA-256", "SASL mechanism.", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    sasl_username: str = _field("", "SASL user.")
    sasl_password: str = _field("", "SASL password.", secret=True)
    ssl_ca_location: str = _field(
        "", "File of the CA certificates (PEM) that the brokers are checked with. Empty: those of the system."
    )
    ssl_certificate_location: str = _field("", "Client certificate (PEM), for mutual TLS.")
    ssl_key_location: str = _field("", "Private key of the client certificate (PEM).")
    ssl_key_password: str = _field("", "Password of the private key.", secret=True)

    # topics
    topic: str = _field("ais.dynamic", "Source: position reports, keyed by MMSI.")
    alert_topic: str = _field("ais.alerts", "Alerts, each revision one record.")
    verdict_topic: str = _field("ais.verdicts", "Per vessel its present verdict (compacted).")
    sample_topic: str = _field(
        "ais.samples", "Each 10-minute sample of each vessel with its judgement; `topics` keeps them for 7 days."
    )
    samples: str = _field(
        "on", "`off`: write no samples; the map's charts then show the verdicts alone.", choices=("on", "off")
    )
    dead_topic: str = _field("ais.dead", "Records that could not be decoded, with reason and origin.")
    feedback_topic: str = _field("ais.feedback", "What watch officers say about alerts.")
    control_topic: str = _field(
        "ais.control", "What feeds and persons tell the workers: watermarks, models, zones. Give it rights of its own."
    )
    state_topic: str = _field("", "Vessel states and source offsets (compacted). Empty: `APP_ID`.state.")
    partitions: int = _field(
        4, "Partitions that `topics` creates. The state topic always has as many as the source.", least=1
    )
    replication_factor: int = _field(1, "Replicas that `topics` creates.", least=1)
    retention_hours: float = _field(
        168.0, "How long `topics` keeps source and dead letters (h); alerts and feedback are kept for a year.", least=1
    )

    # pace
    checkpoint_interval_s: float = _field(
        1.0, "A checkpoint so often, in s (1 at 4-16 partitions, 2-5 at 64).", least=0.05
    )
    run_size: int = _field(4000, "Most records in one run of the agent: longer ones cost less a report.", least=1)
    queue_runs: int = _field(8, "Runs that may wait for the agent; then reading stops.", least=1)
    record_max_bytes: int = _field(65536, "A longer record is a dead letter (`too_large`).", least=200)
    state_max_bytes: int = _field(
        2097152, "Largest vessel state (bytes); `topics` allows records of this size.", least=65536
    )
    session_timeout_s: float = _field(
        10.0,
        "A worker that is not heard from for so long loses its partitions (the broker's group.min.session.timeout.ms, 6 s unless changed, is the least).",
        least=1,
    )
    transaction_timeout_s: float = _field(
        180.0,
        "The broker ends a checkpoint that is open for so long; keep it three times the outage to ride out.",
        least=10,
    )
    outage_max_s: float = _field(
        60.0,
        "Longest outage of the broker to ride out. A transactional call that hangs three times as long ends the process.",
        least=1,
    )
    stop_timeout_s: float = _field(8.0, "SIGTERM: the last checkpoint may take so long.", least=0.5)

    # watching it
    health_bind: str = _field("127.0.0.1", "Address of /health, /ready and /metrics.")
    health_port: int = _field(6066, "Their port.", least=1)
    meetings_port: int = _field(6067, "Port of the same pages of `meetings`.", least=1)
    ready_age_s: float = _field(30.0, "/ready says no when something has waited for a checkpoint for longer.", least=1)
    map_bind: str = _field("127.0.0.1", "Address of the map. Any other than this machine's own needs MAP_TOKEN.")
    map_port: int = _field(8080, "Port of the map.", least=1)
    map_token: str = _field("", "What a browser must present to see the map (16 characters or more).", secret=True)
    log_format: str = _field("console", "Form of the log.", choices=("console", "json"))
    log_level: str = _field("INFO", "Least level that is logged.", choices=("DEBUG", "INFO", "WARNING", "ERROR"))

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, least, choices = getattr(self, f.name), f.metadata["least"], f.metadata["choices"]
            if least is not None and value is not None and not (math.isfinite(value) and value >= least):
                raise ConfigError(f"{f.name.upper()}={value}: must be a number of at least {least:g}")
            if choices and value not in choices:
                raise ConfigError(f"{f.name.upper()}={value!r}: must be one of {', '.join(choices)}")
        for name in ("health_port", "meetings_port", "map_port"):
            if (port := getattr(self, name)) > 65535:
                raise ConfigError(f"{name.upper()}={port}: a port is at most 65535")
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
        """From the TOML ``file`` (or the one that ``SETTINGS_FILE`` names), then the environment, then ``overrides``.

        Raises:
            ConfigError: one line that names the first unknown or wrong setting.
        """
        environ = os.environ if environ is None else environ
        names = {f.name: f for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        if file is None and (named := value_of(environ, FILE_VARIABLE)):
            file = Path(named)
        if file is not None:
            for key, value in _read(file).items():
                if (name := key.lower()) not in names:
                    close = difflib.get_close_matches(name, names, 1)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    raise ConfigError(
                        f"settings file {file}: unknown setting {key!r}{hint} (`python -m stream_operator settings` lists all)"
                    )
                values[name] = _convert(names[name], value, f"settings file {file}: {key}")
        for name in names:
            if (variable := variable_of(environ, name)) is not None:
                values[name] = _convert(names[name], environ[variable], variable)
        return cls(**{**values, **overrides})

    @classmethod
    def near_misses(cls, environ: Mapping[str, str] | None = None) -> list[str]:
        """Variables of the environment that look like a misspelt setting, one warning each."""
        known = [f.name.upper() for f in dataclasses.fields(cls)]
        misses = []
        for variable in sorted(os.environ if environ is None else environ):
            bare = variable.removeprefix(PREFIX)
            if bare not in known and (close := difflib.get_close_matches(bare, known, 1, cutoff=0.9)):
                meant = variable.removesuffix(bare) + close[0]
                misses.append(f"the variable {variable} is no setting; did you mean {meant}?")
        return misses

    @classmethod
    def table(cls) -> str:
        """All settings as a Markdown table."""
        hints = get_type_hints(cls)
        rows = ["| variable | kind | default | meaning |", "|---|---|---|---|"]
        for f in dataclasses.fields(cls):
            kind = ", ".join(f.metadata["choices"]) or _kind(hints[f.name]).__name__
            default = "" if f.default in ("", None) else f"`{f.default}`"
            rows.append(f"| `{PREFIX}{f.name.upper()}` | {kind} | {default} | {f.metadata['doc']} |")
        return "\n".join(rows)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as e:
        raise ConfigError(f"settings file {file}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"settings file {file}: not TOML ({e})") from None


def _kind(hint: Any) -> type:
    """``float | None`` -> float."""
    kind: type = next((t for t in getattr(hint, "__args__", ()) if t is not type(None)), hint)
    return kind


def _convert(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    kind = _kind(get_type_hints(Settings)[field.name])
    optional = field.default is None
    if optional and value == "":
        return None
    try:
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
            number = kind(value)
            if number == float(value):
                return number
    except ValueError:
        pass
    shown = "***" if field.metadata["secret"] else repr(value)
    raise ConfigError(
        f"{where}={shown}: must be {'a whole number' if kind is int else 'a number' if kind is float else 'text'}"
    )
