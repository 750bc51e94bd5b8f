"""All that was learnt, as one folder: versioned, checksummed, and only for its region.

    manifest.json            name, version, region, rules, detectors, made from, credits, sha256 of every other file
    thresholds.json          what makes an alert, by alert type
    usual.npz                what ships do where (for messages only)
    encounters.npz           where ships stop, who meets whom, how long ships are not heard where; may be absent
    calibration/NAME.npz     of each detector
    detectors/NAME/...       each detector's own files

The version is the name and a hash over the manifest's content, which holds the hash of every file: equal versions are equal models.
Shipped models lie in ``multitaskais/models/NAME``. Nothing in a folder names a vessel.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..config import DetectionRules, Region, TrackRules
from ..detection.calibration import Calibration
from ..detection.lifecycle import AlertLife
from ..detection.panel import Panel
from ..detection.protocol import Detector, traits_of
from ..detection.threshold import Budget, Thresholds
from ..detection.traffic_patterns import CellStatistics
from ..encounters.patterns import Patterns
from ..errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, MultitaskAISError, WrongRegion
from .untrusted import check_names, check_unpacked

FORMAT_VERSION = 1
ENTRY_POINTS = "multitaskais.detectors"
SHIPPED = Path(__file__).parent.parent / "models"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_HASH_DIGITS = 12
_PATTERNS = "encounters.npz"
_OWN = {"manifest.json", "thresholds.json", "usual.npz", _PATTERNS, "calibration", "detectors"}
_KEPT = {"training", "card", "README.md"}  # beside the model in its folder: the log of its training, its card


@dataclass(frozen=True)
class Model:
    """A region, its rules and a panel that knows it.

    Attributes:
        version: of the saved folder; "unsaved" before.
        made_from: what it was learnt from: data, period, numbers of vessels and tracks, seeds.
        credits: lines that must be shown where the model is.
        patterns: what is usual among ships together; None: meetings and silences are not looked at.
    """

    name: str
    region: Region
    track_rules: TrackRules
    detection_rules: DetectionRules
    panel: Panel
    usual: CellStatistics
    budget: Budget = field(default_factory=Budget)
    version: str = "unsaved"
    made_from: dict[str, Any] = field(default_factory=dict)
    credits: tuple[str, ...] = ()
    patterns: Patterns | None = None

    def with_rules(self, track_rules: TrackRules, detection_rules: DetectionRules) -> Model:
        """The same model under an operator's own rules; what was learnt, and so the version, stays."""
        panel = self.panel
        return replace(
            self,
            track_rules=track_rules,
            detection_rules=detection_rules,
            panel=Panel(
                panel.detectors,
                panel.calibrations,
                panel.thresholds,
                detection_rules,
                decision=panel.decision,
                speed_max_knots=track_rules.speed_max_knots,
            ),
        )

    def alert_life(self, *, challenger: bool = False) -> AlertLife:
        """Turns what the panel says into alerts that carry this model's version."""
        return AlertLife(self.panel, self.version, self.usual, self.track_rules, challenger=challenger)


def detector_class(name: str) -> Any:
    """The class behind an entry point; a package of yours adds its own under ``multitaskais.detectors``."""
    found = [e for e in entry_points(group=ENTRY_POINTS) if e.name == name]
    if not found:
        known = ", ".join(sorted({e.name for e in entry_points(group=ENTRY_POINTS)}))
        raise ModelError(
            f"no detector {name!r} is installed: install the package that has it under the entry point group {ENTRY_POINTS} (known: {known})"
        )
    try:
        return found[0].load()
    except (ImportError, AttributeError) as e:
        raise ModelError(f"detector {name!r} ({found[0].value}) cannot be imported: {e}") from None


# ---------------------------------------------------------------- out


def save(model: Model, folder: str | Path) -> Model:
    """Write the folder in one move (a reader sees the old one or the new one); returns the model with its version."""
    folder = Path(folder)
    if not _NAME.fullmatch(model.name):
        raise ConfigError(f"model name {model.name!r}: use lower-case letters, digits, '.', '-' and '_'")
    if model.panel.thresholds is None:
        raise ConfigError("the model has no thresholds yet: calibrate it before it is saved")
    if folder.exists() and (strange := sorted(p.name for p in folder.iterdir() if p.name not in _OWN | _KEPT)):
        raise ConfigError(f"{folder} holds {strange[0]!r}, which is of no model: give another place")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new.chmod(0o755)
        manifest = _write(model, new)
        for kept in _KEPT:
            if (folder / kept).exists():
                (folder / kept).rename(new / kept)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return _with_version(model, manifest["version"])


def _write(model: Model, folder: Path) -> dict[str, Any]:
    (folder / "calibration").mkdir()
    for detector, calibration in zip(model.panel.detectors, model.panel.calibrations, strict=True):
        calibration.save(folder / "calibration" / f"{detector.name}.npz")
        (folder / "detectors" / detector.name).mkdir(parents=True)
        detector.save(folder / "detectors" / detector.name)
    model.usual.save(folder / "usual.npz")
    if model.patterns is not None:
        model.patterns.save(folder / _PATTERNS)
    assert model.panel.thresholds is not None
    _write_json(folder / "thresholds.json", model.panel.thresholds.to_dict())
    manifest = {
        "format": FORMAT_VERSION,
        "name": model.name,
        "region": model.region.to_dict(),
        "track_rules": model.track_rules.to_dict(),
        "detection_rules": model.detection_rules.to_dict(),
        "detectors": list(model.panel.names),
        "decision": model.panel.decision,
        "budget": model.budget.to_dict(),
        "made_from": model.made_from,
        "credits": list(model.credits),
        "files": {str(p.relative_to(folder).as_posix()): _sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()},
    }
    manifest["version"] = _version(manifest)
    _write_json(folder / "manifest.json", manifest)
    return manifest


def _version(manifest: dict[str, Any]) -> str:
    content = {k: v for k, v in manifest.items() if k != "version"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return f"{manifest['name']}-{digest[:_HASH_DIGITS]}"


def _with_version(model: Model, version: str) -> Model:
    return Model(**{**{k: getattr(model, k) for k in Model.__dataclass_fields__}, "version": version})


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# ---------------------------------------------------------------- in


def find(name_or_folder: str | Path) -> Path:
    """The folder of a shipped model's name, or the folder itself."""
    for folder in (Path(name_or_folder), SHIPPED / str(name_or_folder)):
        if (folder / "manifest.json").is_file():
            return folder
    if Path(name_or_folder).is_dir():
        raise ModelNotFound(
            f"{name_or_folder} has no manifest.json: it is no model folder, or its copy is not complete"
        )
    raise ModelNotFound(
        f"no model {str(name_or_folder)!r}: give one of {', '.join(shipped()) or '(none shipped)'} or a model folder"
    )


def shipped() -> list[str]:
    """Names of the models in this package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/manifest.json"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked manifest; raises ``ModelCorrupt`` when any file of the folder is missing or differs."""
    again = "copy the whole model folder again, or make it again with `multitaskais calibrate`"
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        version, files, format_ = manifest["version"], dict(manifest["files"]), manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        raise ModelCorrupt(f"{folder / 'manifest.json'} cannot be read ({e}): {again}") from None
    if format_ != FORMAT_VERSION:
        raise ModelError(
            f"{folder} has model format {format_}, this version reads {FORMAT_VERSION}: make the model again"
        )
    detectors = manifest.get("detectors", [])
    if not isinstance(detectors, list) or not all(isinstance(d, str) for d in detectors):
        raise ModelCorrupt(f"{folder / 'manifest.json'} cannot be read (detectors are no list of names): {again}")
    # What is read must be listed, else its checksum would say nothing.
    read = {"thresholds.json", "usual.npz", *(f"calibration/{name}.npz" for name in detectors)}
    for part in ("calibration", "detectors"):
        read |= {p.relative_to(folder).as_posix() for p in (folder / part).rglob("*") if not p.is_dir()}
    if not_listed := read - files.keys():
        raise ModelCorrupt(f"{folder / 'manifest.json'} does not list {min(not_listed)[:200]!r}: {again}")
    check_names(folder, files)
    for name, digest in files.items():
        file = folder / name
        if _sha256(file) != digest:
            raise ModelCorrupt(f"{file} differs from what was saved (checksum): {again}")
    check_unpacked(folder, files)
    if _version(manifest) != version:
        raise ModelCorrupt(f"{folder / 'manifest.json'} was changed after it was saved: {again}")
    return manifest


def load(name_or_folder: str | Path, region: Region | None = None, scorer: str = "numpy") -> Model:
    """A model of this package by name, or any model folder.

    Args:
        region: what it must have been made for; None takes the model's own.
        scorer: of detectors that have several ("numpy", "tensorflow").

    Raises:
        ModelNotFound, ModelCorrupt, WrongRegion, ModelError: what to do is in the message.
    """
    folder = find(name_or_folder)
    manifest = read_manifest(folder)
    try:
        own = Region.from_dict(manifest["region"])
        rules = DetectionRules.from_dict(manifest["detection_rules"])
        track_rules = TrackRules.from_dict(manifest["track_rules"])
        if region is not None and region.to_dict() != own.to_dict():
            raise WrongRegion(
                f"model {manifest['name']!r} was made for region {own.name!r} ({_box(own)}), not for {region.name!r} ({_box(region)}): give a model of that region, or make one"
            )
        detectors = [
            _load_detector(name, folder / "detectors" / name, own, rules, scorer) for name in manifest["detectors"]
        ]
        calibrations = [Calibration.load(folder / "calibration" / f"{name}.npz") for name in manifest["detectors"]]
        thresholds = Thresholds.from_dict(json.loads((folder / "thresholds.json").read_text()))
        panel = Panel(
            detectors,
            calibrations,
            thresholds,
            rules,
            decision=manifest["decision"],
            speed_max_knots=track_rules.speed_max_knots,
        )
        return Model(
            manifest["name"],
            own,
            track_rules,
            rules,
            panel,
            CellStatistics.load(folder / "usual.npz"),
            Budget(**manifest["budget"]),
            manifest["version"],
            manifest["made_from"],
            tuple(manifest["credits"]),
            Patterns.load(folder / _PATTERNS) if _PATTERNS in manifest["files"] else None,
        )
    except MultitaskAISError:
        raise
    except Exception as e:  # whatever a folder holds, it is one line
        raise ModelCorrupt(
            f"{folder} cannot be read ({type(e).__name__}: {e}): copy the whole model folder again"
        ) from None


def _load_detector(name: str, folder: Path, region: Region, rules: DetectionRules, scorer: str) -> Detector:
    cls = detector_class(name)
    more: dict[str, Any] = {"scorer": scorer} if traits_of(cls).scorers else {}
    loaded: Detector = cls.load(folder, region, rules, **more)
    return loaded


def _box(r: Region) -> str:
    return f"{r.lat_min:g}..{r.lat_max:g}, {r.lon_min:g}..{r.lon_max:g}, bins {r.lat_bin_deg:g}/{r.lon_bin_deg:g} deg, {r.sog_bin_knots:g} kn, {r.cog_bin_deg:g} deg"
