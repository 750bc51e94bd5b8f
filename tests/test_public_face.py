"""``import multitaskais``: what it offers is what is documented, and costs nothing until it is used."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import multitaskais as mt
from multitaskais import errors, simulate
from multitaskais.errors import FormatError, MultitaskAISError
from multitaskais.simulate.archive import write_archive

ROOT = Path(__file__).resolve().parent.parent


def test_the_names_of_the_package_are_those_that_are_documented():
    page = (ROOT / "docs" / "quickstart-archive.md").read_text()
    documented = re.findall(r"^\| `mt\.(\w+)` \|", page, re.M)
    assert sorted({*documented, "__version__"}) == sorted(mt.__all__)
    assert all(getattr(mt, name) is not None for name in mt.__all__)
    assert set(mt.__all__) <= set(dir(mt))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_modle"):
        mt.load_modle  # noqa: B018


def test_the_bare_import_loads_no_array_library():
    code = "import sys, multitaskais; sys.exit(any(m in sys.modules for m in ('numpy', 'scipy', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_an_archive_becomes_the_alerts_of_the_engine(tmp_path):
    region = mt.Region.load("brittany")
    settings = simulate.SimulationSettings(vessels=20, abnormal=4)
    traffic = simulate.simulate(region, settings, np.random.default_rng(7))
    write_archive(traffic, tmp_path)
    reports = mt.load_reports(str(tmp_path / "*" / "*" / "*.cdv"), region)
    assert len(reports) > 1000
    result = mt.detect(mt.load_model("brittany", region), reports)
    assert result.alerts
    assert all(isinstance(a, mt.Alert) for a in result.alerts)
    (tmp_path / "letter.txt").write_text("no sentence of a ship")
    with pytest.raises(MultitaskAISError):
        mt.load_reports(tmp_path / "letter.txt")


def test_every_error_says_when_it_is_raised_and_what_to_do_and_stands_in_the_tree():
    found = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, MultitaskAISError)]
    assert len(found) > 10
    for error in found:
        assert error.__doc__
        assert error.__doc__ != MultitaskAISError.__doc__ or error is MultitaskAISError
        assert error.__doc__.count(". ") >= 1, f"{error.__name__}: say what the user does"
        assert error.__name__ in (errors.__doc__ or "")
    assert issubclass(FormatError, errors.InputError)


def test_what_a_worker_raises_is_in_the_tree():
    from stream_operator.worker.checkpoint import Fenced, InDoubt

    for error in (Fenced, InDoubt):
        assert issubclass(error, errors.OperatorError)
        assert error.__name__ in (errors.__doc__ or "")
