"""TLS and SASL/SCRAM against a real broker, and what is said when the password or the CA is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trustme

from multitaskais.errors import OperatorError
from stream_operator.kafka import topics
from tests.stream.conftest import PASSWORD, USER, own_settings, wait_for_closed
from tests.stream.test_exactness import assert_exact, rows, send

pytestmark = pytest.mark.broker


@pytest.fixture
def secured(broker, authority):
    return own_settings(
        broker.secure_bootstrap, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256", sasl_username=USER,
        sasl_password=PASSWORD, ssl_ca_location=str(authority[1]),
    )  # fmt: skip


def test_the_whole_thread_runs_over_tls_with_scram_and_the_password_is_not_logged(secured, start_worker):
    s = secured
    topics.Admin(s).create()
    reports = rows(1000, 10)
    worker = start_worker(s)
    send(s, reports)
    wait_for_closed(s, 10, within=60)
    assert worker.end() == 0
    assert_exact(s, reports)
    assert PASSWORD not in worker.text()


def test_a_wrong_password_or_an_unknown_authority_stops_the_start_with_one_line(secured, tmp_path, monkeypatch):
    monkeypatch.setattr(topics, "CALL_S", 3.0)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for wrong, hint in (
        (replace(secured, sasl_password="wrong-one"), "SASL_PASSWORD"),
        (replace(secured, ssl_ca_location=str(other)), "SSL_CA_LOCATION"),
    ):
        with pytest.raises(OperatorError) as e:
            topics.require(wrong)
        assert not isinstance(e.value, topics.BrokerAway)  # to start it again would not help
        assert hint in str(e.value)
        assert "wrong-one" not in str(e.value)
        assert "\n" not in str(e.value)
