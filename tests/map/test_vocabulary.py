"""The page's words are the server's: the classes of ships are those of the alerts' sentences, and nothing goes without a name."""

from __future__ import annotations

import json
import re
from typing import Any

from multitaskais.detection.ship_classes import CLASSES, SHOWN_CLASSES, class_name, shown_class
from multitaskais.detection.suppression import AnswerKind
from multitaskais.records import Cause, NotJudged
from multitaskais.zones.zone import Rule
from stream_operator.map import vocabulary
from stream_operator.map.server import STATIC


def exported() -> dict[str, Any]:
    return {
        name: json.loads(value) for name, value in re.findall(r"const (\w+) = ([\[{].*);", vocabulary.module().decode())
    }


def test_a_ship_has_on_the_map_the_class_that_its_alert_names():
    for ship_type in range(-1, 256):
        assert shown_class(ship_type) == (class_name(ship_type) or shown_class(ship_type))
        assert shown_class(ship_type) in SHOWN_CLASSES
        assert (shown_class(ship_type) in CLASSES) == (class_name(ship_type) is not None)


def test_the_pages_module_gives_each_type_its_class():
    names, of_type = (exported()[name] for name in ("SHIP_CLASSES", "OF_TYPE"))
    assert [names[k] for k in of_type] == [shown_class(ship_type) for ship_type in range(256)]
    assert names[of_type[0]] == "unknown"


def test_every_cause_reason_rule_and_answer_has_a_name_on_the_page():
    words = exported()
    assert set(words["CAUSES"]) == {str(cause) for cause in Cause}
    assert set(words["REASONS"]) == {reason.text for reason in NotJudged if reason}
    assert set(words["RULES"]) == {str(rule) for rule in Rule}
    assert set(words["ANSWERS"]) == {str(answer) for answer in AnswerKind}


def test_no_script_of_the_page_names_a_cause_itself():
    for file in STATIC.glob("*.js"):
        assert "Contradicts itself" not in file.read_text(), file.name
