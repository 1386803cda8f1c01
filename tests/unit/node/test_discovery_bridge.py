"""What a node makes of its settings and of its link's errors when it searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from miros_mesh import errors
from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.node.discovery_bridge import broker_at, marks_of, settings_of, verdict_of
from miros_mesh.wire.keyring import fingerprint
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
        (errors.TlsError, Verdict.NO_TLS),
        (errors.CertificateError, Verdict.CERTIFICATE),
        (errors.CredentialsRefusedError, Verdict.CREDENTIALS),
        (errors.VirtualHostError, Verdict.NO_MESH),
        (errors.PermissionDeniedError, Verdict.NO_MESH),
        (errors.NoMeshError, Verdict.NO_MESH),
        (errors.OtherKeyError, Verdict.OTHER_KEY),
        (errors.ConnectionLostError, Verdict.FAILED),
    ],
)
def test_each_error_of_a_look_is_a_verdict(error: type[errors.LinkError], verdict: Verdict) -> None:
    assert verdict_of(error("x")) is verdict


def test_a_broker_shows_each_key_of_the_mesh_the_older_ones_too() -> None:
    assert marks_of(CONFIG) == tuple(
        f"miros_mesh.v1.key.{fingerprint(key)}" for key in (KEY, OTHER_KEY)
    )


def test_a_broker_that_was_found_is_used_as_the_own_one() -> None:
    broker = broker_at(Endpoint("192.168.1.75", 5673), CONFIG.brokers[0])
    assert broker.addresses == (
        BrokerAddress("amqp", "192.168.1.75", 5673, "plant", "peter", "rabbit"),
    )
    assert "rabbit" not in broker.name.replace("rabbit@", "")


def test_files_are_in_the_working_folder_and_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of(CONFIG, "n")
    names = (".miros_mesh_hosts.json", ".miros_rabbitmq_hosts.json")
    assert settings.hosts_files == tuple(tmp_path / name for name in names)
    assert settings.cache_path == CONFIG.home_folder / ".miros_mesh_lan_cache.json"


def test_files_that_are_named_are_taken(tmp_path: Path) -> None:
    config = CONFIG.overridden(
        discovery_hosts_file=tmp_path / "hosts", discovery_cache_file=tmp_path / "cache"
    )
    settings = settings_of(config, "n")
    assert settings.hosts_files == (tmp_path / "hosts",)
    assert settings.cache_path == tmp_path / "cache"


def test_what_discovery_keeps_of_a_mesh_tells_keys_apart_and_has_no_secret() -> None:
    ours = settings_of(CONFIG, "n")
    theirs = settings_of(CONFIG.overridden(mesh_encryption_key=OTHER_KEY), "n")
    assert ours.scope != theirs.scope
    assert KEY.decode() not in repr(ours)
    assert "peter" not in repr(ours)


def test_the_charts_of_discovery_print_their_traces_when_the_settings_say_so() -> None:
    assert not settings_of(CONFIG, "n").live_trace
    told = settings_of(CONFIG.overridden(discovery_live_trace=True, discovery_live_spy=True), "n")
    assert (told.live_trace, told.live_spy) == (True, True)
