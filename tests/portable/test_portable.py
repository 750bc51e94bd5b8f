"""Equal logs give equal alerts and states, byte for byte: whatever NumPy's SIMD level, BLAS threads, and with or without numba."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import shared_path

from . import variants
from .__main__ import table


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable")
    shared = shared_path()
    day = shared / variants.REAL_DAY if shared is not None and (shared / variants.REAL_DAY).is_file() else None
    variants.make_logs(folder, vessels=40, abnormal=14, day=day, every=30)
    return variants.run(variants.IN_TESTS, folder, folder / "out")


def test_every_variant_runs_and_is_what_it_says(ran):
    for one in ran:
        assert not one.error, f"{one.variant.name}: {one.error}"
        truth = one.truth()
        assert truth["threads"] == one.variant.threads or truth["threads"] == 1
        assert truth["numba"] == one.variant.numba
        if one.variant.simd == "baseline":
            assert truth["simd"] == "X86_V2"
        elif one.variant.simd == "no AVX-512":
            assert truth["simd"] in ("X86_V2", "X86_V3")


def test_there_is_something_to_compare(ran):
    truth = ran[0].truth()
    assert truth["revisions"] >= 40
    assert truth["states"] >= 20
    assert truth["detectors"] == 9


def test_all_alerts_states_verdicts_samples_and_scores_have_the_same_bytes(ran):
    for other in ran[1:]:
        assert not variants.differing(ran[0], other), f"{other.variant.name} beside {ran[0].variant.name}"


def test_the_table_has_every_variant_and_a_difference_is_the_answer_no(ran, tmp_path, capsys):
    bytes_of_first = [variants.Ran(v, ran[0].out) for v in variants.ALL]
    assert table(bytes_of_first) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.startswith(v.name) for line in lines) for v in variants.ALL)
    other = shutil.copytree(ran[0].out, tmp_path / "other")
    file = next(f for f in sorted(other.iterdir()) if f.name != "truth.json")
    file.write_bytes(file.read_bytes() + b"x")
    last = variants.ALL[-1]
    assert table([*bytes_of_first, variants.Ran(last, other), variants.Ran(last, other, "no such processor")]) == 1
    out = capsys.readouterr().out
    assert f"differs: {file.name}" in out
    assert "not run: no such processor" in out
