"""Meshes of which some nodes write AES-256-GCM and others Fernet, as in an upgrade node by node."""

from __future__ import annotations

from collections import defaultdict

import pytest
from kombu import Connection
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject, SnoopMonitor
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.networks.network import exchange_of
from miros_mesh.wire.ciphers import Cipher
from miros_mesh.wire.codec import (
    FERNET_FRAME_VERSION,
    FRAME_VERSION,
    SIGNED_FERNET_FRAME_VERSION,
    SIGNED_FRAME_VERSION,
)
from miros_mesh.wire.signing import generate_identity
from support.charts_at_work import KEY, OTHER_KEY, Ground, Heard, Launch, Recorder, event
from support.waiting import wait_until

LIMIT_S = 20.0


@pytest.mark.parametrize(
    "ciphers", [("fernet", "aes-gcm"), ("aes-gcm", "fernet"), ("fernet", "fernet")]
)
def test_nodes_of_either_cipher_hear_each_other(
    ground: Ground, launch: Launch, ciphers: tuple[Cipher, Cipher]
) -> None:
    heard, recorders = (Heard(), Heard()), (Recorder(), Recorder())
    charts = [
        launch(
            f"chart-{number}",
            ground.node(f"node-{number}", cipher=cipher, observers=(recorders[number],)),
            heard[number],
        )
        for number, cipher in enumerate(ciphers)
    ]

    for number in range(50):
        for chart in charts:
            chart.transmit(event("number", number))

    # Each hears the other one alone, and nothing that it refuses.
    wait_until(lambda: [each.payloads for each in heard] == [list(range(50))] * 2, LIMIT_S)
    assert not any(recorder.drops for recorder in recorders)


SEALED_WITH = [
    ("aes-gcm", False, FRAME_VERSION),
    ("aes-gcm", True, SIGNED_FRAME_VERSION),
    ("fernet", False, FERNET_FRAME_VERSION),
    ("fernet", True, SIGNED_FERNET_FRAME_VERSION),
]


@pytest.mark.parametrize(("cipher", "signs", "version"), SEALED_WITH)
def test_the_setting_says_what_all_that_a_node_publishes_is_sealed_with(
    vhost_url: str, launch: Launch, cipher: Cipher, signs: bool, version: int
) -> None:
    # Given a node with a snoop key of its own, and who sees all that it publishes
    settings: dict[str, object] = {"node_identity": generate_identity()} if signs else {}
    config = MeshConfig(
        broker_url=vhost_url,
        mesh_encryption_key=KEY,
        snoop_spy_encryption_key=OTHER_KEY,
        node_name="here",
        cipher=cipher,
        heartbeat_interval_s=1.0,
        **settings,  # type: ignore[arg-type]
    )
    sender = launch("sender", config, Heard())
    networks = {"mesh", "snoop_spy", "pulse", "roll"}
    seen: defaultdict[str, set[int]] = defaultdict(set)
    with Connection(vhost_url) as connection, connection.channel() as channel:
        channel.queue_declare("seen", exclusive=True)
        for network in networks:
            channel.queue_bind("seen", exchange_of(network), "#")

        def drain() -> bool:
            while message := channel.basic_get("seen", no_ack=True):
                network = message.delivery_info["exchange"]
                seen[network].add(bytes(message.body)[0])
            return len(seen) == len(networks)

        # When it sends, is watched, and its heart beats
        sender.enable_snoop_spy()
        with SnoopMonitor(config):
            sender.transmit(event("number", 1))
            sender.post_fifo(event("number", 2))
            wait_until(drain, LIMIT_S)
    # Then all of it has the version of the setting
    assert dict(seen) == {exchange_of(network): {version} for network in networks}


class Fragile(Heard):
    """A handler that fails until it is repaired."""

    repaired = False

    def __call__(self, chart: NetworkedActiveObject, event: Event) -> None:
        if not self.repaired:
            raise ZeroDivisionError
        super().__call__(chart, event)


@pytest.mark.parametrize("ciphers", [("fernet", "aes-gcm"), ("aes-gcm", "fernet")])
def test_what_a_node_has_set_aside_is_put_back_by_an_operator_of_the_other_cipher(
    ground: Ground, launch: Launch, ciphers: tuple[Cipher, Cipher]
) -> None:
    # Given a letter of a node that writes one
    heard = Fragile()
    node, operator = ciphers
    launch("door", ground.node("house", cipher=node), heard, on_handler_error="dead_letter")
    launch("bell", ground.node("street", cipher=node)).transmit(event("ring", 7))
    with DeadLetters(ground.make(cipher=operator)) as box:
        wait_until(lambda: len(box.list()) == 1, LIMIT_S)

        # When who writes the other one puts it back
        heard.repaired = True
        assert [each.error for each in box.retry_all()] == [None]

    # Then it is handled
    wait_until(lambda: heard.payloads == [7], LIMIT_S)
