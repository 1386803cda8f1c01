"""What OpenSSL says of a failure, as one of our errors; RabbitMQ says it in `test_tls.py`."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from miros_mesh.errors import (
    CertificateError,
    CertificateExpiredError,
    CertificateNotYetValidError,
    ClientCertificateError,
    ClientCertificateMissingError,
    LinkError,
    NoTlsError,
    TlsError,
    UnknownAuthorityError,
    WrongHostError,
)
from miros_mesh.link.rabbitmq.tls_failures import TlsFailedError, TlsFiles, tls_error

WHERE = "amqps://peter@red:5671/v"
OURS = TlsFiles(Path("/x/ca.pem"), Path("/x/node.pem"))


def failed(reason: str, files: TlsFiles = OURS) -> LinkError:
    cause = ssl.SSLError(1, f"[SSL: {reason}] words of OpenSSL")
    cause.reason = reason
    return tls_error(WHERE, TlsFailedError(cause, files))


def doubted(code: int, files: TlsFiles = OURS) -> LinkError:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code = code
    return tls_error(WHERE, TlsFailedError(cause, files))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (9, CertificateNotYetValidError),
        (10, CertificateExpiredError),
        (18, UnknownAuthorityError),
        (20, UnknownAuthorityError),
        (23, CertificateError),
        (62, WrongHostError),
        (64, WrongHostError),
    ],
)
def test_a_certificate_is_doubted_for_what_is_wrong_with_it(
    code: int, kind: type[LinkError]
) -> None:
    error = doubted(code)
    assert type(error) is kind
    assert WHERE in str(error)


def test_an_unknown_authority_is_told_with_those_that_are_known() -> None:
    assert "broker_ca_file (/x/ca.pem)" in str(doubted(20))
    assert "SSL_CERT_FILE" in str(doubted(20, TlsFiles()))


@pytest.mark.parametrize(
    "reason",
    [
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
    ],
)
def test_a_broker_that_refuses_our_certificate_may_have_got_none(reason: str) -> None:
    assert type(failed(reason)) is ClientCertificateError
    assert type(failed(reason, TlsFiles())) is ClientCertificateMissingError


def test_an_answer_that_is_no_tls_has_nothing_to_do_with_certificates() -> None:
    assert type(failed("WRONG_VERSION_NUMBER")) is NoTlsError


def test_before_tls_1_3_a_missing_certificate_is_only_a_guess() -> None:
    guess = "does it want a certificate (broker_cert_file)?"
    assert type(failed("SSLV3_ALERT_HANDSHAKE_FAILURE")) is TlsError
    assert guess in str(failed("SSLV3_ALERT_HANDSHAKE_FAILURE", TlsFiles()))
    assert guess not in str(failed("SSLV3_ALERT_HANDSHAKE_FAILURE"))
