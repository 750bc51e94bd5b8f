"""Each number of a unit stands once."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod

from multitaskais import units

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("multitaskais", "stream_operator", "tracks_builder", "score_server", "model_trainer", "web_common")


def is_a_unit(x: object) -> bool:
    """A nautical mile, a degree of latitude or the radius of the Earth, in m or km; a knot in m/s."""
    if isinstance(x, bool) or not isinstance(x, int | float):
        return False
    known = ((1852.0, 1e-4), (1.852, 1e-4), (111_195.0, 2e-3), (111.195, 2e-3), (6_371_008.8, 5e-4), (6371.0, 5e-4))
    return any(abs(x - value) <= value * within for value, within in known) or 0.5144 <= x < 0.5145


def test_a_unit_is_written_in_units_and_in_no_other_module():
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path != Path(units.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and is_a_unit(node.value)
    }
    assert not found


def test_units_writes_each_of_them():
    values = [n.value for n in ast.walk(ast.parse(Path(units.__file__).read_text())) if isinstance(n, ast.Constant)]
    assert sum(map(is_a_unit, values)) == 7


@pytest.mark.parametrize("degree_m", [units.M_PER_DEG, units.M_PER_DEG_CM, units.M_PER_DEG_SEEDED, 1000 * units.KM_PER_DEG_TRAINED])  # fmt: skip
def test_each_length_of_a_degree_is_that_of_the_sphere(degree_m):
    _, _, metres = Geod(a=units.EARTH_RADIUS_M, b=units.EARTH_RADIUS_M).inv(0.0, 0.0, 0.0, 1.0)
    np.testing.assert_allclose(degree_m, metres, rtol=1e-6)
