"""The page's classes of ships are those of the alerts' sentences."""

from __future__ import annotations

import json
import re

from multitaskais.detection.ship_classes import CLASSES, SHOWN_CLASSES, class_name, shown_class
from stream_operator.map import ship_classes


def test_a_ship_has_on_the_map_the_class_that_its_alert_names():
    for ship_type in range(-1, 256):
        assert shown_class(ship_type) == (class_name(ship_type) or shown_class(ship_type))
        assert shown_class(ship_type) in SHOWN_CLASSES
        assert (shown_class(ship_type) in CLASSES) == (class_name(ship_type) is not None)


def test_the_pages_module_gives_each_type_its_class():
    text = ship_classes.module().decode()
    names, of_type = (json.loads(found) for found in re.findall(r"= (\[.*\]);", text))
    assert [names[k] for k in of_type] == [shown_class(ship_type) for ship_type in range(256)]
    assert names[of_type[0]] == "unknown"
