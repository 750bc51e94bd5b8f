"""The published schema is what alerts look like: each alert fits, and what is no alert does not."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import jsonschema
import pytest

from multitaskais.records import Alert, AlertType, Cause, Partner, Shares, Status, ZoneOfAlert
from stream_operator.kafka import codec as wire
from tests.stream.conftest import ROOT
from tests.support.standin_engine import an_alert

SCHEMA = json.loads((ROOT / "docs" / "alert.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)


def on_the_wire(alert: Alert) -> dict:
    return json.loads(wire.encode_alert(alert)[1])


def test_the_schema_is_a_schema_and_names_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    names = {f.name for f in fields(Alert)}
    of_one_type = {"partner", "zone"}  # absent from all others
    assert set(SCHEMA["properties"]) == names == set(SCHEMA["required"]) | of_one_type


def test_the_schema_knows_every_status_type_and_cause():
    p = SCHEMA["properties"]
    assert (p["status"]["enum"], p["alert_type"]["enum"], set(p["cause"]["enum"])) == (
        list(Status),
        list(AlertType),
        set(Cause),
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ship_name": "MARION", "ship_type": 70, "log10_nfa": -12.5, "share": Shares(0.1, 0.2, 0.3, 0.4)},
        {"share": Shares(float("nan"), 0.2, 0.3, 0.4), "score": float("inf")},
        {"status": Status.RETRACTED, "challenger": True},
        {"alert_type": AlertType.MEETING, "cause": Cause.MEETING, "partner": Partner(227000002, None, None)},
        {"alert_type": AlertType.ZONE, "cause": Cause.ZONE, "zone": ZoneOfAlert("Reserve", "enter")},
    ],
)
def test_every_alert_fits(change):
    VALID.validate(on_the_wire(replace(an_alert(227000001, 1.7e9, 50, 2.0), **change)))


@pytest.mark.parametrize(
    "wrong",
    [{"mmsi": 227000001}, {"status": "open"}, {"revision": 0}, {"extra": 1}, {"alert_id": "1"}, {"decided_at": None}],
)
def test_what_is_no_alert_does_not_fit(wrong):
    alert = on_the_wire(an_alert(227000001, 1.7e9, 50, 2.0)) | wrong
    with pytest.raises(jsonschema.ValidationError):
        VALID.validate(alert)
