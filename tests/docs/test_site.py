"""The documentation as a site: the strict build is clean, the site needs no other host, and the API page is the public face."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import multitaskais

ROOT = Path(__file__).resolve().parents[2]
# Of a page: what a browser loads by itself. A link that is followed on a click is no asset.
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
}
_EXTERNAL = re.compile(r"\s*(https?:)?//", re.I)
_CSS_LOADS = re.compile(r"(?:@import\s+|url\()\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)", re.I)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder


class Assets(HTMLParser):
    """Addresses that a browser loads with a page, and the page's inline styles and diagrams."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.styles: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [given[a] or "" for a in LOADED.get(tag, ()) if a in given]
        self.styles.append(given.get("style") or "")
        self.classes |= set((given.get("class") or "").split())
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if getattr(self, "_in_style", False):
            self.styles.append(data)


def assets(text: str) -> Assets:
    found = Assets()
    found.feed(text)
    return found


def external(text: str) -> list[str]:
    """What a page loads from another host."""
    found = assets(text)
    loaded = [a for a in found.loaded if _EXTERNAL.match(a)]
    return loaded + [a for style in found.styles for a in _CSS_LOADS.findall(style)]


def test_no_page_loads_anything_from_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        assert external(text) == [], page.name
        assert "mermaid" not in assets(text).classes, (
            f"{page.name}: the theme loads the drawing library from another host"
        )
    for sheet in site.rglob("*.css"):
        assert _CSS_LOADS.findall(sheet.read_text()) == [], sheet.name


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://a.example/x.js"></script>',
        "<link rel=stylesheet href=//fonts.example/css>",
        '<img src="HTTP://a.example/x.png">',
        "<style>@import 'https://a.example/x.css';</style>",
        '<p style="background: url(//a.example/x.png)">',
    ],
)
def test_an_asset_of_another_host_is_found_however_it_is_written(html):
    assert len(external(f"<html>{html}<a href='https://b.example'>a link is none</a></html>")) == 1


def test_the_page_of_the_api_has_the_public_names_and_no_others(site):
    page = (ROOT / "docs" / "api.md").read_text()
    documented = {"__version__"} if "`mt.__version__`" in page else set()
    documented |= set(re.findall(r"^    options: \{heading: mt\.(\w+),", page, re.M))
    assert documented == set(multitaskais.__all__)
    built = (site / "api.html").read_text()
    for name in documented - {"__version__"}:
        own = getattr(multitaskais, name)
        assert f'id="{own.__module__}.{own.__qualname__}"' in built
        assert f">{own.__doc__.split('.')[0].split('`')[0].strip()[:20]}" in built.replace("\n", " ")


def test_each_page_of_the_repository_is_found_by_the_sites_search(site):
    index = (site / "search" / "search_index.json").read_text()
    navigation = yaml.load((ROOT / "mkdocs.yml").read_text().replace("!!python/object/apply:", "#"), yaml.SafeLoader)
    assert navigation["plugins"][0] == "search"
    for page in sorted((ROOT / "docs").rglob("*.md")):
        address = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'"location":"{address}"' in index, address
    for term in ("exactly-once", "at-least-once", "idempotent", "watermark", "allowed lateness", "late data"):
        assert term in index.lower()
