"""The classes of ships as a module of the page, so that its filter, its texts and the alerts' sentences have one vocabulary."""

from __future__ import annotations

import json

from multitaskais.detection.ship_classes import SHOWN_CLASSES, shown_class

NAME = "ship_classes.js"


def module() -> bytes:
    """JavaScript: ``SHIP_CLASSES``, and ``shipClass(type)`` of a ship type of ITU-R M.1371 (-1 unknown)."""
    of_type = [SHOWN_CLASSES.index(shown_class(ship_type)) for ship_type in range(256)]
    return (
        f"// Made by the server from its own classes.\nexport const SHIP_CLASSES = {json.dumps(SHOWN_CLASSES)};\n"
        f"const OF_TYPE = {json.dumps(of_type)};\n"
        "export const shipClass = (type) => SHIP_CLASSES[OF_TYPE[type] ?? OF_TYPE[0]];\n"
    ).encode()
