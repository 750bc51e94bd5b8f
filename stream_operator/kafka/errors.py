"""Every error of a Kafka client as one line: what was asked for, of what, why not, and what to do. And as an exit code.

``TryAgain`` and its kinds end a command with 75 (a supervisor starts it again), every other ``OperatorError`` with 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Producer

from multitaskais.errors import OperatorError, TryAgain

from ..settings import Settings


class AccessDenied(OperatorError):
    """The broker refuses this user something; the line names the operation and the resource."""


ACCESS_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_LOGIN = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError._SSL,
}
# A broker that is away, on its way out, or not yet in charge: what the protocol calls retriable, though a client's error may not say so.
_AWAY = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._DESTROY_BROKER,
    KafkaError._WAIT_COORD,
    KafkaError._WAIT_CACHE,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
    KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.STALE_BROKER_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
}


def kafka_error(error: KafkaError | KafkaException) -> KafkaError:
    """The ``KafkaError`` of an exception, or the error itself."""
    return error.args[0] if isinstance(error, KafkaException) else error


def is_access_denied(error: KafkaError | KafkaException) -> bool:
    return kafka_error(error).code() in ACCESS_DENIED


class Refusal:
    """``error_cb`` of an idempotent producer: who may write nowhere gets no producer id, and gives up.

    The reason comes here or out of whatever call is made next; other calls and messages hear only that it has given up.
    """

    def __init__(self) -> None:
        self.error: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        # A producer that gave up may first be told that it did, and then why: the reason counts.
        known = self.error is not None and (is_access_denied(self.error) or not is_access_denied(error))
        if not known and (error.fatal() or is_access_denied(error)):
            self.error = error

    def reason(self, producer: Producer, error: KafkaException) -> KafkaError:
        """The error behind ``error`` of ``producer``: why it has given up, where it has."""
        cause = kafka_error(error)
        if cause.code() != KafkaError._FATAL:
            return cause
        try:
            producer.poll(1.0)
        except KafkaException as e:
            self(kafka_error(e))
        return self.error or cause


def explain(settings: Settings, error: KafkaError | KafkaException, operation: str, resource: str) -> OperatorError:
    """The error to raise for a client's error.

    Args:
        operation: the right of Kafka that the call needs: ``Read``, ``Write``, ``Describe``, ``DescribeConfigs``, ``AlterConfigs``, ``Create``.
        resource: what it is needed on, such as ``topic ais.alerts`` or ``group multitaskais``.
    """
    cause = kafka_error(error)
    if cause.code() in ACCESS_DENIED:
        user = f"user {settings.sasl_username!r}" if settings.sasl_username else "this client"
        return AccessDenied(
            f"the broker refuses {user} {operation} on {resource}: grant it (docs/operator/security.md#rights has the table)"
        )
    if cause.code() in _LOGIN:
        return OperatorError(
            f"{operation} on {resource}: the brokers {settings.bootstrap_servers} refuse the login ({cause.str()}): "
            "check SECURITY_PROTOCOL, SASL_USERNAME, SASL_PASSWORD and SSL_CA_LOCATION"
        )
    if cause.code() in _AWAY or cause.retriable():
        return TryAgain(
            f"{operation} on {resource}: no answer from the brokers {settings.bootstrap_servers} ({cause.str()}): start it again"
        )
    return OperatorError(f"{operation} on {resource} failed: {cause.str()} ({cause.name()})")


def explain_reader(settings: Settings, error: KafkaError | KafkaException, topic: str) -> OperatorError:
    """For what a reader (``client.reader``) of a topic was refused: the topic, or to ask for its group, of which nothing is read."""
    if kafka_error(error).code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return explain(settings, error, "Describe", f"group {settings.app_id}.reader")
    return explain(settings, error, "Read", f"topic {topic}")


@contextmanager
def explained(settings: Settings, operation: str, resource: str) -> Iterator[None]:
    """``KafkaException`` of the block as one line; see ``explain``."""
    try:
        yield
    except KafkaException as e:
        raise explain(settings, e, operation, resource) from None


@contextmanager
def explained_write(settings: Settings, producer: Producer, refusal: Refusal, resource: str) -> Iterator[None]:
    """``KafkaException`` of a producer's calls as one line, with the reason for which it has given up."""
    try:
        yield
    except KafkaException as e:
        raise explain(settings, refusal.reason(producer, e), "Write", resource) from None


def of_a_command(error: Exception, command: str) -> OperatorError | None:
    """For a ``KafkaException`` that nobody has explained; None for any other error."""
    if not isinstance(error, KafkaException):
        return None
    return explain(Settings.load(), error, f"`{command}`", "the brokers")
