"""`LinkProbe`: looks through the link whether a broker of the node's mesh is at an address."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import (
    BrokerUnreachableError,
    CertificateError,
    ChannelLimitError,
    ClientCertificateError,
    ConnectionLimitError,
    CredentialsRefusedError,
    LinkError,
    NoMeshError,
    NotAmqpError,
    NoTlsError,
    OtherKeyError,
    PermissionDeniedError,
    TlsError,
    TlsFileError,
    VirtualHostError,
)
from miros_mesh.link.ports import Broker, Link
from miros_mesh.networks.ancestor.network import MESH as ANCESTORS
from miros_mesh.networks.network import exchange_of
from miros_mesh.text import logger_of
from miros_mesh.wire.keyring import KeyRing

logger = logger_of(__name__)

# The first that fits; a class stands before those that it is derived from.
_VERDICTS: Final[tuple[tuple[type[LinkError], Verdict], ...]] = (
    (NotAmqpError, Verdict.NOT_AMQP),
    (CertificateError, Verdict.CERTIFICATE),
    (NoTlsError, Verdict.NO_TLS),
    # Of our own files, and not of what is at the address.
    (TlsFileError, Verdict.FAILED),
    (ClientCertificateError, Verdict.CLIENT_CERTIFICATE),
    (TlsError, Verdict.TLS),
    (BrokerUnreachableError, Verdict.NOTHING),
    (CredentialsRefusedError, Verdict.CREDENTIALS),
    (VirtualHostError, Verdict.NO_MESH),
    (PermissionDeniedError, Verdict.NO_MESH),
    (NoMeshError, Verdict.NO_MESH),
    (OtherKeyError, Verdict.OTHER_KEY),
    (ConnectionLimitError, Verdict.FULL),
    (ChannelLimitError, Verdict.FULL),
)


class LinkProbe:
    """A `BrokerProbe` with the credentials, the TLS and the keys of a node's settings."""

    def __init__(self, config: MeshConfig, link: Link, ring: KeyRing | None = None) -> None:
        self._link = link
        # It looks with what the node itself would connect with: a verdict is about these settings.
        self._like = config.brokers[0]
        # Of older keys too: the nodes there may not have changed theirs yet.
        # A broker of miros-rabbitmq alone is one of ours, too, where both are on one mesh.
        self._instead = () if config.ancestors == "off" else (ANCESTORS.exchange,)
        self._ring = ring or KeyRing(config.keys_for("mesh") or ())

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        """Look once, within `timeout_s`; on any thread."""
        broker = broker_at(endpoint, self._like)
        try:
            marks = marks_of(self._ring.fingerprints)
            self._link.look(
                broker,
                exchange=exchange_name,
                marks=marks,
                timeout_s=timeout_s,
                instead=self._instead,
            )
        except LinkError as error:
            # Only for debugging: most addresses of a search are not ours.
            logger.debug("%s is not ours: %s", endpoint, error)
            return verdict_of(error)
        return Verdict.OURS

    def stop(self) -> None:
        """End every look at once, and begin no other; from any thread."""
        self._link.stop_looking()


def verdict_of(error: LinkError) -> Verdict:
    """Return what an error of `Link.look` says about an address."""
    # An error that is none of these says nothing about the broker: the look itself failed.
    return next((word for kind, word in _VERDICTS if isinstance(error, kind)), Verdict.FAILED)


@functools.lru_cache(maxsize=16)
def marks_of(fingerprints: tuple[str, ...]) -> tuple[str, ...]:
    """Return the exchanges that mark a broker's mesh as one of these keys, in their order."""
    return tuple(exchange_of(f"key.{each}") for each in fingerprints)


def broker_at(endpoint: Endpoint, like: BrokerAddress) -> Broker:
    """Return a broker at an endpoint, with the credentials, virtual host and TLS of another one."""
    # The password is in the address and not in the name, which is what logs and metrics show.
    address = replace(like, host=endpoint.host, port=endpoint.port)
    return Broker(address.redacted, (address,))
