"""``python docs/make_api.py [--out out/api]``: the library's reference as Markdown, one page a module, made from its docstrings."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
from pathlib import Path
from types import ModuleType

# What a program of yours may call; the rest may change without a word.
MODULES = (
    "multitaskais.api",
    "multitaskais.records",
    "multitaskais.config",
    "multitaskais.errors",
    "multitaskais.ais.archives",
    "multitaskais.ais.decoder",
    "multitaskais.ais.encode",
    "multitaskais.tracks.quality",
    "multitaskais.tracks.segmentation",
    "multitaskais.tracks.tracker",
    "multitaskais.tracks.resample",
    "multitaskais.model.samples",
    "multitaskais.detection.protocol",
    "multitaskais.detection.checks",
    "multitaskais.detection.threshold",
    "multitaskais.model.fit",
    "multitaskais.model.folder",
    "multitaskais.engine.engine",
    "multitaskais.engine.batch",
    "multitaskais.simulate.settings",
    "multitaskais.simulate.traffic",
    "multitaskais.evaluation.live",
    "multitaskais.evaluation.evaluate",
)


def members(module: ModuleType) -> list[tuple[str, type | object]]:
    """Public classes and functions that the module itself defines, in the order of its text."""
    own = [
        (n, o)
        for n, o in vars(module).items()
        if not n.startswith("_") and getattr(o, "__module__", "") == module.__name__
    ]
    return [(n, o) for n, o in own if inspect.isclass(o) or inspect.isfunction(o)]


def signature(thing: object) -> str:
    try:
        return str(inspect.signature(thing)).replace("'", "")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""


def text_of(thing: object) -> str:
    """Its own docstring; nothing where Python made one up."""
    doc = inspect.getdoc(thing) or ""
    made_up = inspect.isclass(thing) and (
        doc != inspect.cleandoc(thing.__dict__.get("__doc__") or "") or doc.startswith(f"{thing.__name__}(")
    )
    return "" if made_up else doc


def block(title: str, doc: str) -> str:
    return f"{title}\n\n" + (f"```text\n{doc}\n```\n\n" if doc else "")


def page(name: str) -> str:
    """Markdown of one module."""
    module = importlib.import_module(name)
    out = block(f"# {name}", inspect.getdoc(module) or "")
    for own, thing in members(module):
        sign = signature(thing) if inspect.isfunction(thing) or dataclasses.is_dataclass(thing) else ""
        out += block(f"## {own}\n\n`{own}{sign}`", text_of(thing))
        if inspect.isclass(thing):
            for method, function in vars(thing).items():
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and not method.startswith("_") and function.__doc__:
                    out += block(f"### {own}.{method}\n\n`{method}{signature(function)}`", text_of(function))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/api"), help="folder (default out/api)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        (args.out / f"{name}.md").write_text(page(name))
    first = [
        (n, (inspect.getdoc(importlib.import_module(n)) or "").split("\n\n")[0].replace("\n", " ")) for n in MODULES
    ]
    (args.out / "index.md").write_text("# Reference\n\n" + "".join(f"- [{n}]({n}.md): {doc}\n" for n, doc in first))
    print(f"{len(MODULES)} modules in {args.out}/index.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
