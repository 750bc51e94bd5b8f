"""TLS and SASL/SCRAM against a real broker, and what is said when the password or the CA is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from multitaskais.errors import OperatorError
from stream_operator import devbroker, topics

from .conftest import own_settings, wait_for_closed
from .test_exactness import assert_exact, rows, send

pytestmark = pytest.mark.broker

PASSWORD = "right-one"


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("secure")
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    store, authority = folder / "broker.pem", folder / "ca.pem"
    store.write_bytes(pem + b"".join(c.bytes() for c in certificate.cert_chain_pems))
    ca.cert_pem.write_to_path(str(authority))
    security = devbroker.Security("watch", PASSWORD, store, authority)
    with devbroker.DevBroker(folder / "kafka", security=security) as broker:
        yield broker, authority


def secured(secure, **more):
    broker, authority = secure
    return own_settings(
        broker.secure_bootstrap, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256", sasl_username="watch",
        ssl_ca_location=str(authority), **{"sasl_password": PASSWORD, **more},
    )  # fmt: skip


def test_the_whole_thread_runs_over_tls_with_scram_and_the_password_is_not_logged(secure, start_worker):
    s = secured(secure)
    topics.Admin(s).create()
    reports = rows(1000, 10)
    worker = start_worker(s)
    send(s, reports)
    wait_for_closed(s, 10, within=60)
    assert worker.end() == 0
    assert_exact(s, reports)
    assert PASSWORD not in worker.text()


def test_a_wrong_password_or_an_unknown_authority_stops_the_start_with_one_line(secure, tmp_path, monkeypatch):
    monkeypatch.setattr(topics, "CALL_S", 3.0)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for wrong, hint in (
        (secured(secure, sasl_password="wrong-one"), "SASL_PASSWORD"),
        (replace(secured(secure), ssl_ca_location=str(other)), "SSL_CA_LOCATION"),
    ):
        with pytest.raises(OperatorError) as e:
            topics.require(wrong)
        assert hint in str(e.value)
        assert "wrong-one" not in str(e.value)
        assert "\n" not in str(e.value)
