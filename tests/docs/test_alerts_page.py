"""The page on reading alerts: its example keeps the schema, and its reader reads what was committed."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest

from stream_operator.settings import Settings
from tests.support.pages import ROOT, blocks


def example() -> dict:
    return json.loads(blocks(ROOT / "docs" / "alerts.md", "json")[0])


def test_the_example_of_an_alert_keeps_the_schema():
    jsonschema.validate(example(), json.loads((ROOT / "docs" / "alert.schema.json").read_text()))


@pytest.mark.broker
def test_the_reader_in_python_reads_committed_alerts_from_a_broker(tmp_path, monkeypatch):
    from confluent_kafka import Producer

    from stream_operator import devbroker
    from stream_operator.kafka.topics import Admin

    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    monkeypatch.setenv("KAFKA_CACHE", os.environ.get("KAFKA_CACHE", str(ROOT / ".cache" / "kafka")))
    names: dict = {"__name__": "page"}
    exec(blocks(ROOT / "docs" / "alerts.md", "python")[0], names)
    alert = example()
    with devbroker.DevBroker(tmp_path) as broker:
        Admin(Settings(bootstrap_servers=broker.bootstrap)).create()
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "docs"})
        producer.init_transactions(30)
        for message, end in (
            ("never said", producer.abort_transaction),
            (alert["message"], producer.commit_transaction),
        ):
            producer.begin_transaction()
            producer.produce("ais.alerts", json.dumps(alert | {"message": message}).encode(), alert["mmsi"].encode())
            producer.flush(30)
            end(30)
        reader = names["alerts"](broker.bootstrap)
        got = next(reader)
        reader.close()
    assert got == alert
    assert names["line"](got) == f"raised   {alert['score']:6.2f}  {alert['message']}"
