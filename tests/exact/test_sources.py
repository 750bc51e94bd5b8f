"""No module that an alert rests on calls a function whose last bits depend on the processor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Of NumPy and ``math``; what is in ``multitaskais.exact`` takes their place.
UNEQUAL = frozenset(
    [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "logaddexp",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "arccosh",
        "arctanh",
        "asinh",
        "acosh",
        "atanh",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "arctan2",
        "asin",
        "acos",
        "atan",
        "atan2",
        "hypot",
        "dist",
        "power",
        "float_power",
        "pow",
        "cbrt",
        "sinc",
        "fma",
        "dot",
        "einsum",
        "inner",
        "tensordot",
    ]
)
# What ends in data: simulated traffic, training, the making of a model; and figures and pictures of models.
DATA = (
    "simulate", "evaluation", "exact", "data", "networks/vrnn.py", "networks/train.py", "networks/bounds.py", "networks/tf_scorer.py",
    "networks/motion_train.py", "networks/weights.py", "model/fit.py",
)  # fmt: skip
CORE = ROOT / "multitaskais"


def modules():
    for file in sorted(CORE.rglob("*.py")):
        name = file.relative_to(CORE).as_posix()
        if not any(name == d or name.startswith(f"{d}/") for d in DATA):
            yield name


def unequal(source: str) -> list[str]:
    return [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("np", "numpy", "math")
        and node.attr in UNEQUAL
    ]


@pytest.mark.parametrize("name", list(modules()))
def test_a_module_of_the_core_calls_no_function_with_other_bits_elsewhere(name):
    found = unequal((CORE / name).read_text())
    assert not found, f"multitaskais/{name} {found}: use multitaskais.exact.functions or .scalars"


def test_such_a_call_would_be_found():
    assert unequal("import numpy as np\ny = np.exp(1.0) + math.sin(2.0) + np.sqrt(4.0)") == [
        "line 2: np.exp",
        "line 2: math.sin",
    ]
