"""What a failure of TLS means, and which files of ours had a part in it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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

# What OpenSSL, of one version or another, says of an answer that is no TLS: that of a broker is
# `AMQP`, and that of a web server begins with `HTTP`.
_NOT_TLS: Final = frozenset(
    (
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
    )
)
# Alerts of the broker, which come after the handshake with TLS 1.3.
_OUR_CERTIFICATE: Final = re.compile(r"ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
# Numbers of OpenSSL (X509_V_ERR_...).
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset((62, 64))
_UNKNOWN_ISSUER: Final = frozenset((2, 18, 19, 20, 21, 27))


@dataclass(frozen=True)
class TlsFiles:
    """What is trusted over TLS, and what is shown."""

    authorities: Path | None = None
    """`broker_ca_file`; None: those of the system, or of `SSL_CERT_FILE`."""
    certificate: Path | None = None
    """`broker_cert_file`; None: no certificate is shown."""
    key: Path | None = None
    """`broker_key_file`; None: the key is in the file of the certificate."""


class TlsFailedError(Exception):
    """A handshake that failed, or an alert that came after it, with the files of that attempt."""

    def __init__(self, cause: ssl.SSLError, files: TlsFiles) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.files = files


def tls_error(where: str, failure: TlsFailedError) -> LinkError:
    """Return the error that says what was wrong, and how to put it right."""
    cause = failure.cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        kind, remedy = _doubted(cause, failure.files)
        return kind(f"{where}: the TLS handshake failed ({cause}); {remedy}")
    # Python sets it where OpenSSL gave one.
    reason = getattr(cause, "reason", None) or ""
    if reason in _NOT_TLS:
        return NoTlsError(
            f"what answers at {where} speaks no TLS ({cause}); use the broker's port for TLS, "
            "mostly 5671, or amqp:// if its network is to be trusted"
        )
    if _OUR_CERTIFICATE.search(reason):
        return _refused(where, failure)
    # As a broker says before TLS 1.3 that it misses a certificate, among other things.
    wanted = (
        "; does it want a certificate (broker_cert_file)?" if not failure.files.certificate else ""
    )
    return TlsError(f"{where}: the TLS handshake failed ({cause}){wanted}")


def _refused(where: str, failure: TlsFailedError) -> LinkError:
    """What is wrong with our own certificate."""
    ours = failure.files.certificate
    if ours is None:
        return ClientCertificateMissingError(
            f"{where} wants a certificate of this node ({failure.cause}): name one with "
            "broker_cert_file and broker_key_file"
        )
    return ClientCertificateError(
        f"{where} refuses the certificate in broker_cert_file ({ours}: {failure.cause}): it has to "
        "be valid now, for clients, and signed by an authority in the broker's "
        "ssl_options.cacertfile, with the certificates between them in the same file"
    )


def _doubted(
    cause: ssl.SSLCertVerificationError, files: TlsFiles
) -> tuple[type[CertificateError], str]:
    """What is wrong with the broker's certificate, and the remedy."""
    code = getattr(cause, "verify_code", 0)
    trusted = (
        f"broker_ca_file ({files.authorities})"
        if files.authorities
        else "the system, or the file that SSL_CERT_FILE names; broker_ca_file names another one"
    )
    if code == _EXPIRED:
        return CertificateExpiredError, (
            "the broker's certificate, or its authority's, has expired: renew it at the broker, "
            "or set this machine's clock right"
        )
    if code == _NOT_YET_VALID:
        return CertificateNotYetValidError, (
            "the broker's certificate, or its authority's, is valid only later: set the clock of "
            "this machine right, or renew it at the broker"
        )
    if code in _OTHER_NAME:
        return WrongHostError, (
            "the broker's certificate names other hosts: make one with this host as a "
            "subjectAltName, or write one of its names in the settings"
        )
    if code in _UNKNOWN_ISSUER:
        return UnknownAuthorityError, (
            f"no known authority has signed the broker's certificate: known are those of {trusted}"
        )
    return CertificateError, f"the broker's certificate is refused by the authorities of {trusted}"
