"""What a pipeline is made from: ``CONF.toml`` or the same as JSON. Every value is checked before anything runs.

Each step owns the table of its name; the step's ``settings`` say what may stand there.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from multitaskais.config import Region
from multitaskais.errors import ConfigError, MultitaskAISError

from .step import Conf, Step
from .steps import experiments
from .steps.accept import Accept
from .steps.calibrate import Calibrate
from .steps.detect import Detect
from .steps.evaluate import Evaluate
from .steps.experiments import Experiments
from .steps.inject import Inject
from .steps.publish import Publish
from .steps.samples import Samples
from .steps.tracks import Tracks
from .steps.train import Train

GROUP = "multitaskais.steps"  # entry points of steps of your own
PIPELINES: dict[str, tuple[type[Step], ...]] = {
    "train": (Tracks, Samples, Train, Calibrate, Inject, Evaluate, Accept, Publish),
    "test": (Tracks, Samples, Inject, Evaluate, Accept),
    "detect": (Detect,),
    "experiments": (
        Tracks,
        Samples,
        Train,
        Calibrate,
        Inject,
        Evaluate,
        Experiments,
    ),  # tables; `experiments.steps` gives the steps
}
ON_REQUEST = (Publish,)  # is done when its table is there


class Common(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The values outside of tables.

    Attributes:
        pipeline: which steps.
        region: name of a preset, or a JSON file.
        archive: files, folders, patterns.
        last_days: only the newest days of the archive, by its own newest report.
        format: of the archive, where it is not recognised by itself.
        columns: of tables with other names, our field -> its column, as ``--columns`` of the commands that read archives.
    """

    pipeline: str = "train"
    region: Annotated[str, Meta(min_length=1)] = ""
    archive: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
    last_days: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    format: str | None = None
    columns: dict[str, Annotated[str, Meta(pattern="^[^,]+$")]] = msgspec.field(default_factory=dict)


@lru_cache
def own_steps() -> Mapping[str, type[Step]]:
    """Kind -> class of the steps that other packages bring. Raises ``ConfigError`` when one is not a step."""
    found: dict[str, type[Step]] = {}
    for point in entry_points(group=GROUP):
        try:
            step = point.load()
        except Exception as e:
            raise ConfigError(f"the step {point.name!r} of {point.value} cannot be loaded ({type(e).__name__}: {e}): repair or uninstall its package") from None  # fmt: skip
        if not (isinstance(step, type) and issubclass(step, Step)) or step.kind != point.name:
            raise ConfigError(f"{point.value}: the entry point {point.name!r} of {GROUP} must name a Step of that kind")
        found[point.name] = step
    return found


def of(values: Any, where: str) -> tuple[Conf, list[Step]]:
    """Configuration and steps, in the order in which they are done. Raises ``ConfigError``, in one line that begins with ``where``."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: must be a table of values, not {type(values).__name__}")
    outside = {f.encode_name for f in msgspec.structs.fields(Common)}
    common = _converted({k: v for k, v in values.items() if k in outside}, Common, where, "")
    if common.pipeline not in PIPELINES:
        raise ConfigError(f"{where}: no pipeline {common.pipeline!r}; there are: {', '.join(PIPELINES)}")
    # null in the place of a table, as JSON forms write what was left empty: the table is not there.
    given = {k: v for k, v in values.items() if k not in outside and v is not None}
    kinds: dict[str, type[Step]] = {s.kind: s for s in PIPELINES[common.pipeline]}
    brought = own_steps() if given.keys() - kinds.keys() and common.pipeline != "experiments" else {}
    own = {k: s for k, s in brought.items() if k in given and k not in kinds}
    known = kinds | ({Calibrate.kind: Calibrate} if common.pipeline == "test" else {})
    if unknown := sorted(given.keys() - known.keys() - own.keys()):
        raise ConfigError(f"{where}: {unknown[0]!r} is no value and no step of the pipeline {common.pipeline!r}; there are: {', '.join([*sorted(outside), *kinds, *brought])}")  # fmt: skip
    steps = {k: s() for k, s in kinds.items() if s not in ON_REQUEST or k in given} | {k: s() for k, s in own.items()}
    tables = {}
    if common.pipeline == "experiments":
        train = given.get(
            "train", {}
        )  # no network is trained unless it is asked for, also where a form gives the table empty
        given = given | {"train": {"steps": 0, **train} if isinstance(train, Mapping) else train}
    for kind, step in steps.items():
        tables[kind] = _converted(given.get(kind, {}), step.settings, where, kind)
    if Tracks.kind in steps or common.pipeline == "test":
        if not common.region:
            raise ConfigError(f"{where}: `region` is missing: the name of a preset, or a JSON file")
        region = Region.load(common.region)
    else:
        region = Region.load("global")
    if common.pipeline == "test" and not tables["evaluate"].model:
        raise ConfigError(f"{where}: the pipeline 'test' needs [evaluate] model = a model's name, folder or store:NAME")
    if common.pipeline in ("train", "experiments") and tables["evaluate"].model:
        raise ConfigError(f'{where}: evaluate.model belongs to pipeline = "test"; this one evaluates what it makes')
    newest = common.last_days or (common.pipeline == "experiments" and any(tables["experiments"].days))
    if newest and Tracks.kind in steps and tables["tracks"].builder == "spark":
        raise ConfigError(f"{where}: tracks.builder = \"spark\" takes the whole archive: give `archive` the newest days alone, in the place of last_days or experiments.days")  # fmt: skip
    if "publish" in tables:
        tables["publish"] = msgspec.structs.replace(tables["publish"], store=tables["publish"].url)
    archive = tuple(_absolute(p, where) for p in common.archive)
    _require_readable(common, where)
    plain = msgspec.to_builtins(common) | {"archive": list(archive), "region": region.to_dict()}
    plain |= {k: msgspec.to_builtins(t) for k, t in tables.items()}
    for name in ("format", "columns"):
        if not plain[name]:  # runs of before have no such value
            del plain[name]
    checked = Conf(
        common.pipeline, region, archive, common.last_days, tables, plain, common.format, dict(common.columns)
    )
    todo = experiments.steps(checked) if common.pipeline == "experiments" else list(steps.values())
    return checked, ordered(todo, where)


def on_request(pipeline: str) -> set[str]:
    """Kinds of steps that are done when their table is there."""
    return {s.kind for s in PIPELINES[pipeline] if s in ON_REQUEST} | set(own_steps())


def ordered(steps: Sequence[Step], where: str) -> list[Step]:
    """Each after those that it names; of several that may be next, the first given. Raises ``ConfigError`` for a circle."""
    names, left, done = {s.name for s in steps}, list(steps), list[Step]()
    while left:
        ready = next((s for s in left if not set(s.after) & names - {d.name for d in done}), None)
        if ready is None:
            raise ConfigError(f"{where}: the steps {', '.join(s.name for s in left)} wait for each other")
        left.remove(ready)
        done.append(ready)
    return done


def load(path: Path) -> dict[str, Any]:
    """The values of a TOML or JSON file. Raises ``ConfigError``."""
    try:
        text = path.read_text()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not a text file ({e})") from None
    return parse_json(text, str(path)) if path.suffix == ".json" else _toml(text, str(path))


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Strictly: no name twice, no NaN."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return found

    def no_number(text: str) -> float:
        raise ValueError(f"{text} is no number of JSON")

    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError) as e:
        raise ConfigError(f"{where}: not JSON ({e})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: not JSON of a table of values, but of {type(found).__name__}")
    return found


def changed(values: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """``calibrate.budget=0.02`` for each; a value that is no TOML value is text. Raises ``ConfigError``."""
    found = copy.deepcopy(dict(values))
    for change in changes:
        name, equals, text = change.partition("=")
        *tables, last = name.strip().split(".")
        if not equals or not last or not all(tables):
            raise ConfigError(f"--set {change}: give NAME=VALUE or STEP.NAME=VALUE, for instance calibrate.budget=0.02")
        try:
            parsed = tomllib.loads(f"x = {text}")
        except (tomllib.TOMLDecodeError, RecursionError):
            parsed = {}
        value = parsed["x"] if len(parsed) == 1 else text
        at = found
        for table in tables:
            at = at.setdefault(table, {})
            if not isinstance(at, dict):
                raise ConfigError(f"--set {change}: {table} is a value and no table")
        at[last] = value
    return found


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ConfigError(f"{where}: not TOML ({e})") from None


def _converted(values: Any, to: Any, where: str, table: str) -> Any:
    try:
        return msgspec.convert(values, to, strict=True)
    except msgspec.ValidationError as e:
        path = f"$.{table}" if table else "$"
        raise ConfigError(f"{where}: {_readable(str(e), path)}") from None


def _readable(message: str, path: str) -> str:
    text, _, rest = message.partition(" - at `$")
    inside = rest.rstrip("`")
    full = (path + inside).removeprefix("$").removeprefix(".")
    return f"{full}: {text}" if full else text


def _require_readable(common: Common, where: str) -> None:
    """Raises ``ConfigError`` where ``format`` or ``columns`` name what the readers of archives do not know."""
    if common.format is None and not common.columns:
        return
    from multitaskais.ais.archives import check_format
    from multitaskais.ais.tables.layout import parse_columns

    try:
        check_format(common.format)
    except MultitaskAISError as e:
        raise ConfigError(f"{where}: format: {e}") from None
    try:
        for field, column in common.columns.items():
            parse_columns(f"{field}={column}")
    except MultitaskAISError as e:
        raise ConfigError(f"{where}: columns: {str(e).removeprefix('--columns ')}") from None


def _absolute(pattern: str, where: str) -> str:
    if "\0" in pattern:
        raise ConfigError(f"{where}: archive: {pattern!r} is no path")
    return str(Path(pattern).absolute())
