"""What the map reads of the topics, and what it says of the clocks."""

from __future__ import annotations

import json
import time

import pytest

from stream_operator.map.follower import TopicFollower
from stream_operator.map.state import CLOCK_OFF_S, MapState
from tests.map.conftest import own_settings
from tests.support.map_scene import send_json

pytestmark = pytest.mark.broker

DAY_S = 86_400.0


def until(what, within: float = 60.0):
    give_up_at = time.monotonic() + within
    while not what():
        assert time.monotonic() < give_up_at, f"not within {within} s"
        time.sleep(0.1)


@pytest.mark.parametrize("ahead_s", [2 * DAY_S, 0.0, -2 * DAY_S])
def test_ships_are_shown_whatever_the_clock_of_the_machine_says_and_that_it_is_wrong_is_said(map_broker, ahead_s):
    settings = own_settings(map_broker.bootstrap)

    def clock() -> float:
        return time.time() + ahead_s

    def send(mmsi: int) -> None:
        report = {"mmsi": str(mmsi), "x": -5.0, "y": 48.0, "sog": 9.0, "cog": 90.0, "tagblock_timestamp": time.time()}
        send_json(settings, settings.topic, str(mmsi), report)

    send(227000001)
    picture = MapState(clock=clock)
    follower = TopicFollower(settings, picture, clock)
    follower.start()
    try:
        until(lambda: picture.health.caught_up and picture.health.records >= 1)
        send(227000002)
        until(lambda: picture.health.records >= 2 and (picture.health.clock_is_wrong or not ahead_s))
        told = json.loads(picture.state())
    finally:
        follower.stop()
    assert follower.failed is None
    assert {row[0] for row in told["ships"]} == {227000001, 227000002}
    if ahead_s:
        assert abs(told["health"]["clock_ahead_s"] - ahead_s) < CLOCK_OFF_S
    else:
        assert told["health"]["clock_ahead_s"] is None
    assert abs(told["health"]["age_s"]) < CLOCK_OFF_S  # of the reports, by the broker's clock
