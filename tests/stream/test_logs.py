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


# What an operator looks for by partition when one does not go on.
WITH_OFFSET = ("restored", "revoked", "fenced", "lost to another worker", "were deleted before they were read")


def test_lines_about_a_partition_that_comes_goes_or_loses_carry_partition_and_offset():
    found: dict[str, set[str]] = {}
    for path in WORKER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            said, extra = node.args[0], next((k.value for k in node.keywords if k.arg == "extra"), None)
            if isinstance(extra, ast.Dict) and isinstance(said, ast.Constant):
                fields = {k.value for k in extra.keys if isinstance(k, ast.Constant)}
                assert fields <= set(logs.FIELDS)
                found |= {what: fields for what in WITH_OFFSET if what in said.value}
    assert found == {what: {"partition", "offset"} for what in WITH_OFFSET}
