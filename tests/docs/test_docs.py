"""Documentation is true: what it names exists."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path

import pytest

from multitaskais.cli import main as multitaskais
from stream_operator.__main__ import main as operator
from stream_operator.commands.meetings_status import FleetMetrics
from stream_operator.settings import Settings
from stream_operator.worker.metrics import Metrics
from tests.support import own_package
from tests.support.pages import NOTEBOOKS, PAGES, ROOT, blocks, name, prose

BIN = Path(sys.executable).parent

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(
    r"(?:^|[\s`'(\"$])(multitaskais (?!(?:import|as)\b)(?:(?:region|store|pipeline) (?=new|list|push|pull|withdraw|prune|run|step|show|graph|schema|dags))?[a-z]+|python -m (?:stream_operator|tracks_builder|benchmarks|score_server|model_trainer)(?:\.\w+)?(?: [a-z]+)?)(?![\w.])([^`\n]*)"
)
_OPTION = re.compile(r"(?<=\s)--[a-z][a-z-]*")
_METRIC = re.compile(r"\bmultitaskais_[a-z_]+\b")


def test_the_example_detector_is_found_by_its_entry_point_and_joins_a_model(tmp_path):
    import numpy as np

    from multitaskais.model import folder as modelfolder
    from multitaskais.model.fit import fit_model, installed

    detector, check = blocks(ROOT / "docs" / "detectors.md", "python")
    entry_points = blocks(ROOT / "docs" / "detectors.md", "toml")[0]
    assert '[project.entry-points."multitaskais.detectors"]\nturn = "my_package.turn:TurnDetector"' in entry_points
    names: dict = {"__name__": "page"}
    exec(detector, names)
    exec(check, names)
    samples = names["samples"]
    dev = np.isin(samples["mmsi"], np.unique(samples["mmsi"])[::4])
    entry = "[multitaskais.detectors]\nturn = my_package.turn:TurnDetector\n"
    with own_package.installed(tmp_path, "my_package", {"turn": detector}, entry):
        model = fit_model(samples[~dev], samples[dev], names["region"], name="with-turn", detectors=("cells", "turn"))
        saved = modelfolder.save(model, tmp_path / "model")
        assert "turn" in installed()
        assert modelfolder.load(tmp_path / "model").panel.names == ("cells", "turn")
    assert saved.version.startswith("with-turn-")


# ---------------------------------------------------------------- what is named, exists


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name)
def test_every_relative_link_leads_somewhere(page):
    text = prose(page) if page.suffix == ".md" else page.read_text()
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in slugs(file), f"{name(page)} links to {target}: there is no such heading"


@functools.cache
def tracked() -> frozenset[str]:
    skip = {".venv", ".git", ".cache", "out", "__pycache__"}
    files = (p for p in ROOT.rglob("*") if not skip & set(p.relative_to(ROOT).parts))
    return frozenset(p.relative_to(ROOT).as_posix() for p in files)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_the_repository_that_is_named_exists(page):
    rooms = (
        "multitaskais/",
        "stream_operator/",
        "tracks_builder/",
        "score_server/",
        "model_trainer/",
        "web_common/",
        "tests/",
        "docs/",
        "docker/",
        "benchmarks/",
    )
    for code in _CODE.findall(prose(page)):
        path = code.split()[0].rstrip("/")
        if code.startswith(rooms) and "*" not in path and "NNNN" not in path and path not in tracked():
            assert (page.parent / path).exists(), f"{name(page)} names {code}"


@functools.cache
def defined(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(
        n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    )


def test_the_walk_of_a_report_names_functions_where_they_are():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", text)
    assert len(named) > 10
    for file, function in named:
        missing = set(function.split(".")) - defined(file)
        assert not missing, f"{file} has no {function}"


def test_the_files_that_a_package_names_in_its_docstring_exist():
    named = 0
    for package in (f for f in sources() if f.name == "__init__.py"):
        for file in re.findall(r"``([\w/]+(?:\.py|/))``", ast.get_docstring(ast.parse(package.read_text())) or ""):
            named += 1
            assert (package.parent / file).exists() or (ROOT / file).exists(), f"{name(package)} names {file}"
    assert named > 40


def identifiers() -> set[str]:
    """Every class, function, method and module-level constant of the product."""
    found: set[str] = set()
    for file in sources():
        for n in ast.walk(ast.parse(file.read_text())):
            if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                found.add(n.name)
            elif isinstance(n, ast.Assign | ast.AnnAssign):
                targets = n.targets if isinstance(n, ast.Assign) else [n.target]
                found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return found


def test_each_row_of_the_glossary_names_an_identifier_that_exists():
    rows = re.findall(r"^\| (?!term |---)(.*) \|$", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    assert len(rows) >= 25
    known = identifiers()
    for row in rows:
        term, _, _, code = row.split(" | ")
        named = _CODE.findall(code)
        assert named, f"{term} names no identifier"
        assert set(named) <= known, f"{term}: there is no {set(named) - known}"
    terms = [row.split(" | ")[0] for row in rows]
    assert len(set(terms)) == len(terms)


def test_the_architecture_lists_every_decision():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        title = page.read_text().splitlines()[0].split(". ", 1)[1]
        assert f"- [{page.name[:4]}](adr/{page.name}) {title}" in text


def test_the_tests_that_are_named_exist():
    known = {t for file in (ROOT / "tests").rglob("test_*.py") for t in re.findall(r"def (test_\w+)", file.read_text())}
    for page in PAGES:
        for test in re.findall(r"`(test_\w{8,})`", prose(page)):
            assert test in known, f"{name(page)} names {test}"


@functools.cache
def help_of(command: str) -> str:
    if command.split()[0] == "multitaskais":
        return _said(multitaskais, command.split()[1:])
    if command.split()[:3] == ["python", "-m", "stream_operator"]:
        return _said(operator, command.split()[3:])
    done = subprocess.run([sys.executable, *command.split()[1:], "--help"], capture_output=True, text=True, cwd=ROOT, check=False)  # fmt: skip
    assert done.returncode == 0, f"`{command} --help` ends with {done.returncode}: {done.stderr[-300:]}"
    return done.stdout


def _said(program: Callable[[list[str]], int], words: list[str]) -> str:
    """In this process: to start one for each command took a minute."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = program([*words, "--help"])
        except SystemExit as e:
            code = e.code
    assert not code, f"{' '.join(words)} --help"
    return out.getvalue()


def commands(page: Path) -> set[tuple[str, str]]:
    found = set()
    for line in page.read_text().replace("\\\n", " ").splitlines():
        for command, rest in _COMMAND.findall(line):
            rest = re.split(r"[|;#]|&&|\s{4,}", rest)[0]
            found |= {(command.strip(), option) for option in _OPTION.findall(" " + rest)} | {(command.strip(), "")}
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page):
    for command, option in sorted(commands(page)):
        assert option in help_of(command), f"{name(page)}: `{command}` has no {option}"


def test_both_programs_tell_all_their_commands():
    for command, some in (("multitaskais", "detect"), ("python -m stream_operator", "alerts")):
        assert some in help_of(command)
        for page in PAGES:
            for said, _ in commands(page):
                if said.startswith(command + " "):
                    assert said[len(command) :].split()[0] in help_of(command), f"{name(page)}: {said}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for target in re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.M):
            assert target in targets, f"{name(page)} names make {target}"


def test_the_table_of_settings_is_that_of_the_code():
    assert Settings.table() in (ROOT / "docs" / "operator" / "settings.md").read_text()


def test_the_table_of_settings_of_the_score_server_is_that_of_the_code():
    from score_server.settings import Settings

    assert Settings.table() in (ROOT / "docs" / "serve-models.md").read_text()


def test_the_table_of_settings_of_the_trainer_is_that_of_the_code():
    from model_trainer.settings import Settings

    assert Settings.table() in (ROOT / "docs" / "train-models.md").read_text()


def test_the_columns_of_the_tracks_table_are_those_of_the_code():
    pytest.importorskip("pyspark")
    from tracks_builder import schemas

    said = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "tracks.md").read_text(), re.M)
    assert said == [f.name for f in schemas.TRACKS_SCHEMA.fields]


def test_detectors_in_the_docs_are_those_that_are_installed():
    from multitaskais.model.fit import installed

    table = (ROOT / "docs" / "detectors.md").read_text().split("## An example")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.M)) == list(installed())


def test_traits_in_the_docs_are_those_of_the_panel():
    from multitaskais.detection.protocol import Traits

    table = (ROOT / "docs" / "detectors.md").read_text().split("## What a detector may say")[1]
    said = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.M))
    for trait, field in Traits.__dataclass_fields__.items():
        assert said[trait] == ("required" if field.default is MISSING else f"`{field.default!r}`")


def sources() -> list[Path]:
    return [
        f
        for room in (
            "multitaskais",
            "stream_operator",
            "tracks_builder",
            "score_server",
            "model_trainer",
            "web_common",
            "benchmarks",
        )
        for f in (ROOT / room).rglob("*.py")
    ]


def slugs(page: Path) -> set[str]:
    """Anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_page_and_anchor_that_the_code_cites_exists():
    cited = 0
    files = [*sources(), *(f for room in ("tests", "score_server", "web_common") for f in (ROOT / room).rglob("*.py"))]
    for file in files:
        text = file.read_text()
        for page, anchors in re.findall(r"\bdocs/([\w/-]+\.md)((?:(?:, | and | to )?#[a-z0-9-]+)*)", text):
            assert (ROOT / "docs" / page).exists(), f"{name(file)} cites docs/{page}"
            for anchor in re.findall(r"#([a-z0-9-]+)", anchors):
                assert anchor in slugs(ROOT / "docs" / page), f"{name(file)} cites docs/{page}#{anchor}"
                cited += 1
        assert not re.search(r"\bMETHOD \d", text) or file == Path(__file__), f"{name(file)} cites a section by number"
    assert cited > 60


def test_lint_refuses_words_that_are_not_the_fields(tmp_path):
    lint = [sys.executable, str(ROOT / ".ci" / "words.py")]
    (tmp_path / "page.md").write_text("The model speaks.\nRun `topics --mend`, which sets what differs.\nMade Anew.\n")
    done = subprocess.run([*lint, str(tmp_path / "page.md")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split(": ", 1)[1] for line in done.stdout.splitlines()] == [
        "'speaks': write 'is active'",
        "'Anew': write 'again'",
    ]
    whole = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stdout


# ---------------------------------------------------------------- metrics


def metric_names() -> set[str]:
    out = set()
    for family in (*Metrics().registry.collect(), *FleetMetrics().registry.collect()):
        kinds = {
            "counter": ("_total", "_created"),
            "histogram": ("_bucket", "_sum", "_count"),
            "gauge": ("",),
        }
        out |= {family.name + suffix for suffix in kinds[family.type]}
    return out


@pytest.mark.parametrize(
    "file", [*PAGES, ROOT / "docs" / "grafana-dashboard.json", ROOT / "docs" / "alert-rules.yml"], ids=name
)
def test_every_metric_that_is_named_exists(file):
    images = {
        "multitaskais_base",
        "multitaskais_stream",
        "multitaskais_tracks",
        "multitaskais_broker",
        "multitaskais_score",
        "multitaskais_trainer",
        "multitaskais_airflow",
    }
    images |= {"multitaskais_train", "multitaskais_test", "multitaskais_experiments"}  # DAGs
    named = set(_METRIC.findall(file.read_text())) - images
    assert named <= metric_names(), f"{name(file)} names {sorted(named - metric_names())}"


def test_the_metrics_of_the_operators_page_are_those_of_the_worker():
    table = (ROOT / "docs" / "operator" / "monitoring.md").read_text().split("| metric | kind |")[1].split("\n\n")[0]
    said = {
        f"multitaskais_{m}" for row in table.splitlines() for m in re.findall(r"`([a-z_]+)[^`]*`", row.split(" | ")[0])
    }
    names = metric_names()
    families = {f.name for f in Metrics().registry.collect()}
    assert all(m in names | families for m in said), said - names - families
    assert families <= {m.removesuffix("_total") for m in said}


def test_the_dashboard_shows_every_metric():
    shown = set(_METRIC.findall((ROOT / "docs" / "grafana-dashboard.json").read_text()))
    families = {f.name for f in (*Metrics().registry.collect(), *FleetMetrics().registry.collect())} - {
        "multitaskais_position_offset",  # the lag says the same
        "multitaskais_durable_offset",
    }
    missing = {f for f in families if not any(m.startswith(f) for m in shown)}
    assert not missing


def test_labels_in_queries_are_labels_of_the_metric():
    labels = {
        "multitaskais_alerts_total": {"status", "alert_type", "challenger"},
        "multitaskais_reports_rejected_total": {"reason"},
        "multitaskais_verdicts_total": {"verdict", "reason"},
        "multitaskais_tracks_open": {"verdict", "reason"},
        "multitaskais_model_partitions": {"version", "role"},
        "multitaskais_model_age_seconds": {"version", "role"},
        "multitaskais_model_alerts_per_vessel_day": {"version", "role"},
        "multitaskais_model_samples_above": {"version", "role", "level"},
        "multitaskais_sample_score_bucket": {"le"},
        "multitaskais_controls_total": {"kind", "refused"},
        "multitaskais_settings_differ": {"what"},
        "multitaskais_meetings_alerts_total": {"status", "alert_type"},
        "multitaskais_meetings_reports_rejected_total": {"reason"},
        "multitaskais_meetings_open": {"kind"},
    }
    for file in ("grafana-dashboard.json", "alert-rules.yml"):
        text = (ROOT / "docs" / file).read_text().replace('\\"', '"')
        for metric, inside in re.findall(r"(multitaskais_[a-z_]+)\{([^}]*)\}", text):
            used = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", inside)) - {"job"}
            assert used <= labels.get(metric, set()), f"{file}: {metric} has no {sorted(used)}"
