"""What a connection by TLS trusts, as our files say at this moment."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from miros_mesh.errors import TlsFileError
from miros_mesh.link.rabbitmq.tls_failures import TlsFiles


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Read the files, and return what they say. Raises `TlsFileError`."""
    # It checks the certificate and the name of the host.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        with _used("broker_ca_file", files.authorities):
            context.load_verify_locations(files.authorities)
    return context


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
