"""What a node makes of its link's errors when it looks at an address."""

from __future__ import annotations

import pytest

from miros_mesh import errors
from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.node.search.link_probe import broker_at, marks_of, verdict_of
from miros_mesh.wire.keyring import KeyRing, fingerprint
from support.charts_at_work import KEY, OTHER_KEY

CONFIG = MeshConfig(
    rabbit_user="peter",
    rabbit_password="rabbit",
    rabbit_virtual_host="plant",
    mesh_encryption_key=(KEY, OTHER_KEY),
)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.BrokerUnreachableError, Verdict.NOTHING),
        (errors.NotAmqpError, Verdict.NOT_AMQP),
        (errors.NoTlsError, Verdict.NO_TLS),
        (errors.TlsFileError, Verdict.FAILED),
        (errors.ClientCertificateError, Verdict.CLIENT_CERTIFICATE),
        (errors.ClientCertificateMissingError, Verdict.CLIENT_CERTIFICATE),
        (errors.TlsError, Verdict.TLS),
        (errors.CertificateError, Verdict.CERTIFICATE),
        (errors.CredentialsRefusedError, Verdict.CREDENTIALS),
        (errors.VirtualHostError, Verdict.NO_MESH),
        (errors.PermissionDeniedError, Verdict.NO_MESH),
        (errors.NoMeshError, Verdict.NO_MESH),
        (errors.OtherKeyError, Verdict.OTHER_KEY),
        (errors.ConnectionLimitError, Verdict.FULL),
        (errors.ChannelLimitError, Verdict.FULL),
        (errors.ConnectionLostError, Verdict.FAILED),
        (errors.BrokerRefusedError, Verdict.FAILED),
    ],
)
def test_each_error_of_a_look_is_a_verdict(error: type[errors.LinkError], verdict: Verdict) -> None:
    assert verdict_of(error("x")) is verdict


def test_a_broker_shows_each_key_of_the_mesh_the_older_ones_too() -> None:
    ring = KeyRing((KEY, OTHER_KEY))
    assert marks_of(ring.fingerprints) == tuple(
        f"miros_mesh.v1.key.{fingerprint(key)}" for key in (KEY, OTHER_KEY)
    )


def test_a_broker_that_was_found_is_used_as_the_own_one() -> None:
    broker = broker_at(Endpoint("192.168.1.75", 5673), CONFIG.brokers[0])
    assert broker.addresses == (
        BrokerAddress("amqp", "192.168.1.75", 5673, "plant", "peter", "rabbit"),
    )
    assert broker.name == "amqp://peter@192.168.1.75:5673/plant"
