"""Structured logs on standard error: for a console, or one JSON object a line."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from .plain_text import escaped, json_line

log = logging.getLogger("stream_operator")

# What a record may carry beside its message (``extra=``), so that a log store can be filtered by it.
FIELDS = ("partition", "offset", "version", "mmsi", "control")


class JsonForm(logging.Formatter):
    """One JSON object a line: time, level, message, and the fields of the record's ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json_line(line)


class ConsoleForm(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


def set_up(form: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else ConsoleForm())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Faust's services log under the module of their class; librdkafka logs each reconnection at INFO.
    for name in (
        "faust",
        "mode",
        "aiokafka",
        "aiohttp.access",
        "asyncio",
        "stream_operator.worker.app",
        "stream_operator.kafka",
    ):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
