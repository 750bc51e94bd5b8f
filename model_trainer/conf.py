"""What a job is made from: ``conf.toml``, or the same as JSON; every field is checked before anything is queued."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from multitaskais.config import REGIONS, Region
from multitaskais.errors import ConfigError
from multitaskais.model.fit import installed
from multitaskais.model.reference import NAME

Share = Annotated[float, Meta(ge=0, le=1)]
Seed = Annotated[int, Meta(ge=0, lt=2**31)]
PathText = Annotated[str, Meta(max_length=4096)]  # PATH_MAX of Linux


class Train(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The VRNN; ``steps = 0`` leaves it out and makes a model of the other detectors."""

    steps: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    seed: Seed = 1
    latent: Annotated[int, Meta(ge=1, le=1024)] | None = None
    hidden: Annotated[int, Meta(ge=1, le=4096)] | None = None
    val_every: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Calibrate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    budget: Annotated[float, Meta(gt=0, lt=1)] | None = None
    detectors: tuple[str, ...] = ()


class Evaluate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    per_kind: Annotated[int, Meta(ge=1, le=1000)] = 40
    seed: Seed = 1


class Accept(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of the figures; what is below them is not published."""

    auroc_min: Share = 0.0
    clean_flagged_max: Share = 1.0


class Compare(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must hold of the new model beside the latest, on the same days, before it takes over by itself; else it is proposed.

    ``alerts`` and ``answers``: files of records of ``ais.alerts`` and ``ais.feedback``, one a line; both or neither.
    ``real_kept_min``: of the alerts called real that the latest raises, the share that the new one must raise.
    """

    agreement_min: Share = 0.5
    real_kept_min: Share = 0.9
    alerts: PathText = ""
    answers: PathText = ""


class Publish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``latest``: an accepted model that is no worse than the latest takes over; ``propose``: it is put into the store, and the
    latest stays until somebody decides. ``needed``: neither happens while the latest keeps its budget on the newest tracks."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,50}$")]
    rollout: Literal["latest", "propose"] = "latest"
    when: Literal["always", "needed"] = "always"


class Conf(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    region: PathText
    archive: Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(min_length=1, max_length=1000)]
    publish: Publish
    last_days: Annotated[float, Meta(gt=0, le=100_000)] | None = None  # only the newest days of the archive
    train: Train = Train()
    calibrate: Calibrate = Calibrate()
    evaluate: Evaluate = Evaluate()
    accept: Accept = Accept()
    compare: Compare = Compare()


def checked(conf: Conf, roots: tuple[Path, ...]) -> dict[str, Any]:
    """The conf as JSON, its paths made absolute.

    Raises:
        ConfigError: a name, a region or a detector that cannot be, or a file outside of ``roots`` (none: anywhere).
    """
    if not NAME.fullmatch(conf.publish.name):  # the pattern lets a last line break pass
        raise ConfigError(f"publish.name: {conf.publish.name!r} is no model's name")
    if conf.region not in REGIONS and roots and not _is_inside(conf.region, roots):
        where = ", ".join(map(str, roots))
        raise ConfigError(f"region: no region {conf.region[:200]!r}: give one of {', '.join(REGIONS)}, or a JSON file in ARCHIVE_ROOTS ({where})")  # fmt: skip
    Region.load(conf.region)
    for name in conf.calibrate.detectors:
        if name not in installed():
            raise ConfigError(f"calibrate.detectors: no detector {name!r} (there are: {', '.join(installed())})")
    archive = [_inside(pattern, roots, "archive") for pattern in conf.archive]
    values: dict[str, Any] = msgspec.to_builtins(conf)
    if bool(conf.compare.alerts) != bool(conf.compare.answers):
        raise ConfigError("compare: answers need the alerts that were answered, and alerts their answers: give both")
    for name in ("alerts", "answers"):
        if values["compare"][name]:
            values["compare"][name] = _inside(values["compare"][name], roots, f"compare.{name}")
    region = conf.region if not Path(conf.region).is_file() else str(Path(conf.region).absolute())
    values["calibrate"]["detectors"] = list(values["calibrate"]["detectors"])
    return values | {"archive": archive, "region": region}


def _inside(pattern: str, roots: tuple[Path, ...], field: str) -> str:
    """The absolute path of a file or glob; raises ``ConfigError`` where it leads out of ``roots``."""
    if pattern.startswith("-") or "\0" in pattern:
        raise ConfigError(f"{field}: {pattern[:200]!r} is no path")
    if not _is_inside(pattern, roots):
        where = ", ".join(map(str, roots)) or "without .."
        raise ConfigError(f"{field}: {pattern[:200]!r} is not in ARCHIVE_ROOTS ({where})")
    return str(Path(pattern).absolute())


def _is_inside(pattern: str, roots: tuple[Path, ...]) -> bool:
    """Whether a file or glob has no ``..`` and lies in one of ``roots``, where there are any, also after its links are followed."""
    path = Path(pattern).absolute()
    if ".." in path.parts:
        return False
    try:
        fixed = Path(*[p for p in path.parts if not set(p) & set("*?[")]).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, a circle of links
        return False
    return not roots or any(fixed.is_relative_to(r.resolve()) for r in roots)


def read(path: Path) -> Conf:
    """A TOML file; one line names what is wrong."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ConfigError(f"{path}: not TOML ({e})") from None
    return of(values, str(path))


def of(values: Any, where: str) -> Conf:
    try:
        return msgspec.convert(values, Conf, strict=True)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {str(e).replace(' - at `$.', ', at `')}") from None
