"""What a connection by TLS trusts and shows, as our files say at this moment."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from miros_mesh.errors import TlsFileError
from miros_mesh.link.rabbitmq.tls_failures import TlsFiles
from miros_mesh.systems import exposure


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Read the files, and return what they say. Raises `TlsFileError`."""
    # It checks the certificate and the name of the host.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        with _used("broker_ca_file", files.authorities):
            context.load_verify_locations(files.authorities)
    if files.certificate is not None:
        _show(context, files.certificate, files.key)
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    with _used("broker_cert_file", certificate):
        # Here and not below, where it could be the one or the other.
        certificate.open("rb").close()
    setting, secret = ("broker_key_file", key) if key else ("broker_cert_file", certificate)
    with _used(setting, secret):
        if exposed := exposure(secret):
            raise TlsFileError(f"{setting}: {secret} holds a key, and {exposed}")
    try:
        context.load_cert_chain(certificate, secret, password=_no_passphrase)
    except OSError as error:
        # One may have been renewed, and the other not yet: the next attempt reads both again.
        raise TlsFileError(
            f"broker_cert_file ({certificate}) with the key in {secret}: {error}; both have to be "
            "in PEM form, the key has to fit, and to have no passphrase"
        ) from error


def _no_passphrase() -> str:
    # Without it OpenSSL would ask at the terminal.
    return ""


@contextmanager
def _used(setting: str, file: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise TlsFileError(
            f"{setting}: {file} holds no certificate in PEM form ({error.reason})"
        ) from error
    except OSError as error:
        raise TlsFileError(f"{setting}: {file} cannot be read: {error.strerror}") from error
