"""What a client's error becomes: one line, and the exit code that a supervisor acts on."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from multitaskais.errors import TryAgain
from stream_operator.kafka.errors import AccessDenied, explain
from stream_operator.settings import Settings

PASSES = (
    "_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT", "_DESTROY_BROKER", "_WAIT_COORD", "_PURGE_QUEUE",
    "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "BROKER_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS", "NOT_CONTROLLER", "KAFKA_STORAGE_ERROR", "FENCED_LEADER_EPOCH", "NOT_ENOUGH_REPLICAS",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE", "REBALANCE_IN_PROGRESS", "THROTTLING_QUOTA_EXCEEDED",
)  # fmt: skip
STAYS = ("TOPIC_EXCEPTION", "INVALID_REPLICATION_FACTOR", "POLICY_VIOLATION", "UNSUPPORTED_VERSION", "_AUTHENTICATION")


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_by_itself_asks_for_another_start(name):
    found = explain(Settings(), KafkaError(getattr(KafkaError, name)), "DescribeConfigs", "topic dynamic")
    assert isinstance(found, TryAgain)
    assert "start it again" in str(found)


@pytest.mark.parametrize("name", STAYS)
def test_what_a_person_has_to_change_does_not(name):
    found = explain(Settings(), KafkaError(getattr(KafkaError, name)), "Create", "topic dynamic")
    assert not isinstance(found, TryAgain)
    assert "\n" not in str(found)


def test_a_missing_right_names_operation_and_resource():
    found = explain(Settings(), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "Write", "topic ais.alerts")
    assert isinstance(found, AccessDenied)
    assert "Write on topic ais.alerts" in str(found)
