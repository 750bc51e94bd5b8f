"""What the worker writes of a station's clock is what the map's banner reads."""

from __future__ import annotations

import json

from multitaskais.engine.events import Events
from multitaskais.tracks.station_clock import StationClock
from stream_operator.map.follower import STATION_EVENTS
from stream_operator.map.untrusted import station
from stream_operator.settings import Settings
from stream_operator.worker.metrics import Metrics
from stream_operator.worker.partition import Partition

FAULT = StationClock(1_700_000_040.0, 1_700_000_100.0, "r003669987", 14, 2220.0)


def taken(events: Events) -> Partition:
    """A partition that has written nothing but what follows from ``events``."""
    partition = Partition.__new__(Partition)
    partition.number, partition._settings, partition._metrics = 3, Settings(), Metrics()
    partition._out, partition._verdicts = [], {}
    partition._take(events)
    return partition


def test_a_stations_fault_is_one_dead_letter_a_metric_and_a_log_line(caplog):
    partition = taken(Events(station_clocks=[FAULT]))
    (record,) = partition._out
    assert record.topic == Settings().dead_topic
    headers = dict(record.headers)
    assert headers["reason"] == b"station_clock"
    assert headers["reason"].decode() in STATION_EVENTS
    assert json.loads(record.value) == FAULT._asdict()
    assert b"multitaskais_station_clocks_total 1.0" in partition._metrics.text()
    assert "14 ships are displaced" in caplog.text


def test_the_banner_reads_it_and_a_strange_name_does_no_harm():
    (record,) = taken(Events(station_clocks=[FAULT._replace(station="<b>\x07x", offset_s=None)]))._out
    event = station(record.value, "station_clock")
    assert (event.ships, event.offset_s, event.t) == (14, None, FAULT.t)
    assert "\x07" not in event.station
