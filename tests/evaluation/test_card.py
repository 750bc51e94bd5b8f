"""A model's card: one section for each split that it was measured on, of one version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multitaskais.evaluation.card import card
from multitaskais.model import folder


@pytest.fixture(scope="module")
def model():
    return folder.load("anywhere")


def figures(labelled: str, split: str) -> dict:
    fused = {
        "alerts_per_vessel_day": 0.04,
        "median_hours_to_alert": 1.0,
        "causes": {"named_right": 0.9},
        "per_kind": {},
    }
    tracks = {"clean_tracks": 10, "clean_vessel_days": 5.0, "abnormal_tracks": 3, "not_judged": {}}
    return {"labelled": labelled, "split": split, "fused": fused, "detectors": {}, **tracks}


def test_what_was_found_on_other_vessels_and_on_later_days_stands_on_one_card(model):
    first = card(model, figures("a.parquet", "vessels"))
    both = card(model, figures("b.parquet", "days"), before=first)
    again = card(model, figures("c.parquet", "vessels"), before=both)
    assert [line for line in both.splitlines() if line.startswith("## Found")] == [
        "## Found on other vessels: a.parquet",
        "## Found on later days: b.parquet",
    ]
    assert "a.parquet" not in again
    assert again.replace("c.parquet", "a.parquet") == both


def test_what_another_version_found_is_not_kept(model):
    before = card(model, figures("a.parquet", "vessels"))
    now = card(replace(model, version="anywhere-0"), figures("b.parquet", "days"), before=before)
    assert "a.parquet" not in now
    assert "b.parquet" in now
