"""What a job is made from: ``conf.toml``, or the same as JSON; every field is checked before anything is queued."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from multitaskais.config import Region
from multitaskais.errors import ConfigError
from multitaskais.model.fit import installed

Share = Annotated[float, Meta(ge=0, le=1)]


class Train(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The VRNN; ``steps = 0`` leaves it out and makes a model of the other detectors."""

    steps: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    seed: Annotated[int, Meta(ge=0)] = 1
    latent: Annotated[int, Meta(ge=1, le=1024)] | None = None
    hidden: Annotated[int, Meta(ge=1, le=4096)] | None = None
    val_every: Annotated[int, Meta(ge=1)] | None = None


class Calibrate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    budget: Annotated[float, Meta(gt=0, lt=1)] | None = None
    detectors: tuple[str, ...] = ()


class Evaluate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    per_kind: Annotated[int, Meta(ge=1, le=1000)] = 40
    seed: Annotated[int, Meta(ge=0)] = 1


class Accept(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of the figures; what is below them is not published."""

    auroc_min: Share = 0.0
    clean_flagged_max: Share = 1.0


class Publish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``latest``: an accepted model that is no worse than the latest takes over; ``propose``: it is put into the store, and the
    latest stays until somebody decides. ``needed``: neither happens while the latest keeps its budget on the newest tracks."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,50}$")]
    rollout: Annotated[str, Meta(pattern="^(latest|propose)$")] = "latest"
    when: Annotated[str, Meta(pattern="^(always|needed)$")] = "always"


class Conf(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    region: str
    archive: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
    publish: Publish
    last_days: Annotated[float, Meta(gt=0)] | None = None  # only the newest days of the archive
    train: Train = Train()
    calibrate: Calibrate = Calibrate()
    evaluate: Evaluate = Evaluate()
    accept: Accept = Accept()


def checked(conf: Conf, roots: tuple[Path, ...]) -> dict[str, Any]:
    """The conf as JSON, its paths made absolute.

    Raises:
        ConfigError: a region or a detector that is not there, or an archive outside of ``roots`` (none: anywhere).
    """
    Region.load(conf.region)
    for name in conf.calibrate.detectors:
        if name not in installed():
            raise ConfigError(f"calibrate.detectors: no detector {name!r} (there are: {', '.join(installed())})")
    archive = []
    for pattern in conf.archive:
        path = Path(pattern).absolute()
        fixed = Path(*[p for p in path.parts if not set(p) & set("*?[")]).resolve()
        if ".." in path.parts or (roots and not any(fixed.is_relative_to(r.resolve()) for r in roots)):
            where = ", ".join(map(str, roots)) or "without .."
            raise ConfigError(f"archive: {pattern} is not in ARCHIVE_ROOTS ({where})")
        if pattern.startswith("-"):
            raise ConfigError(f"archive: {pattern!r} is no path")
        archive.append(str(path))
    values: dict[str, Any] = msgspec.to_builtins(conf)
    region = conf.region if not Path(conf.region).is_file() else str(Path(conf.region).absolute())
    values["calibrate"]["detectors"] = list(values["calibrate"]["detectors"])
    return values | {"archive": archive, "region": region}


def read(path: Path) -> Conf:
    """A TOML file; one line names what is wrong."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not TOML ({e})") from None
    return of(values, str(path))


def of(values: Any, where: str) -> Conf:
    try:
        return msgspec.convert(values, Conf, strict=True)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {str(e).replace(' - at `$.', ', at `')}") from None
