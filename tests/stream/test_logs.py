"""What a log record carries beside its message is kept by the JSON form, and any message stays one line."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path

from stream_operator import logs

WORKER = Path(logs.__file__).parent / "worker"


def written(form: logging.Formatter, message: str, **extra: object) -> str:
    record = logging.getLogger("stream_operator").makeRecord("stream_operator", logging.INFO, "f", 1, message, (), None, extra=extra)  # fmt: skip
    return form.format(record)


def test_the_json_form_keeps_partition_offset_and_version_as_fields():
    line = json.loads(written(logs.JsonForm(), "restored", partition=3, offset=0, version="gulf-0123456789ab"))
    assert (line["partition"], line["offset"], line["version"]) == (3, 0, "gulf-0123456789ab")
    assert "mmsi" not in line


def test_a_field_is_never_a_name_that_the_record_has_already():
    taken = set(vars(logging.makeLogRecord({}))) | {"time", "level", "logger", "message", "error"}
    assert not taken & set(logs.FIELDS)


def test_each_line_of_the_worker_about_a_partition_carries_it_as_a_field():
    missing = []
    for path in WORKER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            said = node.args[0]
            if node.func.attr not in ("debug", "info", "warning", "error") or not isinstance(said, ast.Constant):
                continue
            extra = next((k.value for k in node.keywords if k.arg == "extra"), None)
            fields = (
                {k.value for k in extra.keys if isinstance(k, ast.Constant)} if isinstance(extra, ast.Dict) else set()
            )
            assert fields <= set(logs.FIELDS)
            if "partition %d" in str(said.value) and "partition" not in fields:
                missing.append(f"{path.name}:{node.lineno}")
    assert not missing
