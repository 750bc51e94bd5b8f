"""What the page calls things, as a module that the server makes of its own classes: page and alerts' sentences have one vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping

from multitaskais.detection.ship_classes import SHOWN_CLASSES, shown_class
from multitaskais.detection.suppression import AnswerKind
from multitaskais.records import Cause, NotJudged
from multitaskais.zones.zone import Rule

NAME = "vocabulary.js"

CAUSES: Mapping[Cause, str] = {
    Cause.JUMP: "Jump",
    Cause.CONTRADICTION: "Contradicts itself",
    Cause.DRIFT: "Drifting",
    Cause.LOITERING: "Loitering",
    Cause.OUT_OF_PLACE: "Out of place",
    Cause.SPEED: "Unusual speed",
    Cause.COURSE: "Unusual course",
    Cause.IDENTITY_CONFLICT: "Two ships, one MMSI",
    Cause.MEETING: "Meeting",
    Cause.SILENCE: "Gone silent",
    Cause.ZONE: "Zone",
}
REASONS: Mapping[str, str] = {
    NotJudged.TOO_SHORT.text: "track too short yet",
    NotJudged.MOORED.text: "moored or at anchor",
    NotJudged.OUTSIDE_REGION.text: "outside the model's region",
    NotJudged.LITTLE_KNOWN.text: "little traffic known there",
    NotJudged.NO_DATA.text: "values missing",
    NotJudged.NO_COVERAGE.text: "nothing was ever received there",
    NotJudged.TOO_FAST.text: "faster than the model judges",
}
RULES: Mapping[Rule, str] = {
    Rule.ENTER: "no entry",
    Rule.LEAVE: "not to be left",
    Rule.SLOWER: "not slower than its limit",
    Rule.FASTER: "not faster than its limit",
    Rule.STOP: "no stopping",
    Rule.ANCHOR: "no anchoring",
    Rule.CABLE_CORRIDOR: "neither slow nor at anchor",
}
ANSWERS: Mapping[AnswerKind, str] = {
    AnswerKind.ACKNOWLEDGE: "Acknowledged",
    AnswerKind.NORMAL_HERE: "Normal here",
    AnswerKind.REAL: "Real",
}


def module() -> bytes:
    """JavaScript: ``SHIP_CLASSES``, ``shipClass(type)`` of a ship type of ITU-R M.1371 (-1 unknown), and what causes of alerts,
    reasons for no verdict, rules of zones and answers are called: ``CAUSES``, ``REASONS``, ``RULES``, ``ANSWERS``.
    """
    of_type = [SHOWN_CLASSES.index(shown_class(ship_type)) for ship_type in range(256)]
    words = {"SHIP_CLASSES": SHOWN_CLASSES, "CAUSES": CAUSES, "REASONS": REASONS, "RULES": RULES, "ANSWERS": ANSWERS}
    exports = "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in words.items())
    return (
        f"// Made by the server from its own classes.\n{exports}"
        f"const OF_TYPE = {json.dumps(of_type)};\n"
        "export const shipClass = (type) => SHIP_CLASSES[OF_TYPE[type] ?? OF_TYPE[0]];\n"
    ).encode()
