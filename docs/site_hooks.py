"""Hooks of mkdocs.yml: pages of the repository outside of docs/ become pages of the site, and links follow.

On the repository's host the Markdown files link to each other by their paths; on the site README.md is the first page, and a
page lies where ``OUTSIDE`` says. A link to a file that the site does not have is left as it is, and the strict build refuses it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "LICENSE": "LICENSE.txt",
    **{
        card.relative_to(ROOT).as_posix(): f"model-cards/{card.parts[-3]}.md"
        for card in (ROOT / "multitaskais" / "models").glob("*/card/card.md")
    },
}
INSIDE = {page: source for source, page in OUTSIDE.items()}
LISTED = {"Studies": "studies", "Decisions": "adr"}  # section of the navigation -> folder
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE_INFO = re.compile(r"^```(\w+) .*$", re.M)
_BLOCK = re.compile(r"([-*]|\d+\.) |\|")  # a list or a table begins


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    for section in config.nav or []:
        for title, folder in LISTED.items():
            if isinstance(section, dict) and title in section:
                pages = sorted((ROOT / "docs" / folder).glob("*.md"))
                section[title] = [p.relative_to(ROOT / "docs").as_posix() for p in pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Links by the site's paths; lists and tables as CommonMark reads them; of a fence's marks for the tests (``bash run``) only the language."""
    here = page.file.src_uri
    source = INSIDE.get(here, f"docs/{here}")

    def follow(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if path.startswith("docs/") and source.startswith("docs/"):
            return match[0]
        target = OUTSIDE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if target is None:
            return match[0]
        return posixpath.relpath(target, posixpath.dirname(here) or ".") + (match[2] or "")

    return _FENCE_INFO.sub(r"```\1", _LINK.sub(follow, _set_apart(markdown)))


def _set_apart(markdown: str) -> str:
    """A blank line between a paragraph and the list or table below it: Python-Markdown needs it, CommonMark does not."""
    out: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        fenced ^= line.startswith("```")
        before = out[-1] if out else ""
        if not fenced and _BLOCK.match(line) and before and not before[0].isspace() and not _BLOCK.match(before):
            out.append("")
        out.append(line)
    return "\n".join(out)
