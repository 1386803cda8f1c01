"""Keys that change while events flow: by a chart, by a file, by SIGHUP; and `miros-mesh keys`."""

from __future__ import annotations

import json
import logging
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, reload_on_sighup
from miros_mesh.cli.keys import keys
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import (
    EncryptionKeyError,
    LifecycleError,
    NotStartedError,
    OtherKeyError,
    StoppedError,
)
from miros_mesh.link.ports import Broker
from miros_mesh.networks.frame import Frame
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.node import Node
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.keyring import KeyRing, fingerprint, generate_key
from support.actor import Actor
from support.charts_at_work import KEY, OTHER_KEY, Ground, Heard, Launch, Recorder, event, node_of
from support.waiting import wait_until

LIMIT_S = 20.0
PROGRAM = Path(__file__).parent / "programs" / "with_sighup.py"


def ids(*given: bytes) -> tuple[str, ...]:
    return tuple(map(fingerprint, given))


def send(chart: NetworkedActiveObject, first: int, count: int = 50) -> None:
    for number in range(first, first + count):
        chart.transmit(event("number", number))


def test_a_key_is_changed_step_by_step_while_events_flow(ground: Ground, launch: Launch) -> None:
    # Given two nodes of one key
    heard, recorder = Heard(), Recorder()
    receiver = launch("receiver", ground.node("there", observers=(recorder,)), heard)
    sender = launch("sender", ground.node("here"), Heard())
    new = generate_key()
    (old,) = sender.key_ring().fingerprints
    # When each adds a new one, each uses it, and each removes the old one, amid events
    send(sender, 0)
    for chart in (sender, receiver):
        chart.key_ring().add(new)
    send(sender, 50)
    for chart in (sender, receiver):
        chart.key_ring().use(new)
    send(sender, 100)
    wait_until(lambda: len(heard) == 150, LIMIT_S)
    for chart in (sender, receiver):
        ring = chart.key_ring()
        assert ring.fingerprints == (fingerprint(new), old)
        raw = next(key.raw for key in ring._ring.keys if key.id == old)
        ring.remove(raw)
        with pytest.raises(EncryptionKeyError, match="primary"):
            ring.remove(new)
    send(sender, 150)
    # Then all came once and in order, and the ring is the new key alone
    wait_until(lambda: len(heard) == 200, LIMIT_S)
    assert heard.payloads == list(range(200))
    assert sender.health().keys["mesh"] == sender.health().keys["snoop_spy"] == ids(new)
    assert not [drop for drop in recorder.drops if drop[1] == "undecryptable"]


@pytest.mark.parametrize("ground", ["rabbitmq"], indirect=True)
def test_what_a_node_misses_that_lacks_the_key_comes_once_it_has_it(
    ground: Ground, launch: Launch
) -> None:
    # Given a node that does not have the key that another one uses
    heard, recorder = Heard(), Recorder()
    receiver = launch("receiver", ground.node("there", observers=(recorder,)), heard)
    sender = launch("sender", ground.node("here"), Heard())
    send(sender, 0, 10)
    wait_until(lambda: len(heard) == 10, LIMIT_S)
    sender.change_mesh_encryption_key(OTHER_KEY)
    send(sender, 10, 10)
    wait_until(lambda: ("mesh", "undecryptable", 1) in recorder.drops, LIMIT_S)
    assert len(heard) == 10
    # When it gets it, and hears one event more
    receiver.key_ring().add(OTHER_KEY)
    send(sender, 20, 1)
    # Then it asks for the others, and has them in order
    wait_until(lambda: len(heard) == 21, LIMIT_S)
    assert heard.payloads == list(range(21))


@pytest.mark.parametrize("shared", [False, True])
def test_what_waits_in_an_outbox_leaves_under_the_key_of_then(*, shared: bool) -> None:
    # Given a frame that a node has sealed, and that waits again since its broker is away
    config = MeshConfig(broker_url="amqp://127.0.0.1:1", mesh_encryption_key=KEY)
    node = Node(config)
    ring, encoded = node.keys["mesh"], b"an encoded message"
    frame = Frame(
        node.mesh.network, "topic", exchange="mesh", shared=shared, max_events=1, max_bytes=100
    )
    frame.add_all([msgspec.msgpack.encode(encoded)])
    before = frame.seal()
    # When the key changes, and the old one goes
    ring.add(OTHER_KEY)
    ring.use(OTHER_KEY)
    ring.remove(KEY)
    # Then it leaves under the new one, with the same content
    after = frame.seal()
    assert KeyRing([OTHER_KEY]).open(after) != KeyRing([KEY]).open(before)
    assert frame.messages() == [msgspec.msgpack.encode(encoded)]
    assert (frame.seal() == after) == shared
    node.stop()


def test_a_chart_that_starts_later_shares_the_node_with_its_changed_keys(
    ground: Ground, launch: Launch
) -> None:
    first = launch("first", ground.node("house"), Heard())
    first.change_mesh_encryption_key(OTHER_KEY)

    second = launch("second", ground.node("house"), Heard())

    assert node_of(first) is node_of(second)
    assert second.key_ring().primary == fingerprint(OTHER_KEY)


@pytest.mark.parametrize("ground", ["rabbitmq"], indirect=True)
def test_the_snoop_networks_change_their_keys_apart(ground: Ground, launch: Launch) -> None:
    seen: list[SnoopRecord] = []
    watching = launch("watching", ground.node("there"), on_trace_rx=seen.append)
    speaking = launch("speaking", ground.node("here"))
    for chart in (watching, speaking):
        chart.change_snoop_trace_encryption_key(OTHER_KEY)
        chart.enable_snoop_trace()
    speaking.snoop_scribble("after the change")
    wait_until(lambda: any(each.text == "after the change" for each in seen), LIMIT_S)

    health = speaking.health()
    assert health.keys["snoop_trace"] == ids(OTHER_KEY, KEY)
    assert health.keys["mesh"] == health.keys["snoop_spy"] == ids(KEY)
    speaking.change_snoop_spy_encryption_key(OTHER_KEY)
    assert speaking.health().keys["snoop_spy"] == ids(OTHER_KEY, KEY)


def test_only_a_chart_on_the_mesh_has_keys_to_change(ground: Ground, launch: Launch) -> None:
    chart = NetworkedActiveObject("chart", config=ground.make())
    with pytest.raises(NotStartedError):
        chart.change_mesh_encryption_key(OTHER_KEY)

    chart = launch("other", ground.make())
    with pytest.raises(EncryptionKeyError, match="mesh, snoop_trace, snoop_spy"):
        chart.key_ring("letters")  # type: ignore[arg-type]
    with pytest.raises(EncryptionKeyError, match="not a Fernet key"):
        chart.change_mesh_encryption_key("secret-of-mine")
    chart.stop()
    with pytest.raises(StoppedError):
        chart.key_ring()


def test_a_broker_shows_the_keys_of_now_to_nodes_that_look(vhost_url: str, launch: Launch) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    chart = launch("chart", config)
    link, broker = node_of(chart)._link, Broker("there", config.brokers)

    def shows(key: bytes) -> bool:
        with suppress(OtherKeyError):
            mark = exchange_of(f"key.{fingerprint(key)}")
            link.look(broker, exchange=exchange_of("mesh"), marks=(mark,), timeout_s=LIMIT_S)
            return True
        return False

    assert shows(KEY)
    assert not shows(OTHER_KEY)
    chart.key_ring().add(OTHER_KEY)
    wait_until(lambda: shows(OTHER_KEY), LIMIT_S)


def write(file: Path, *given: bytes) -> None:
    file.touch(0o600)
    file.write_bytes(b"\n".join(given) + b"\n")


def test_a_node_follows_the_file_of_its_keys(
    vhost_url: str, launch: Launch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "keys"
    write(file, KEY)
    chart = launch(
        "chart",
        MeshConfig(
            broker_url=vhost_url, mesh_encryption_key=SecretFile(file), heartbeat_interval_s=1.0
        ),
    )
    write(file, OTHER_KEY, KEY)
    wait_until(lambda: chart.key_ring().fingerprints == ids(OTHER_KEY, KEY), LIMIT_S)

    file.write_text("")
    wait_until(lambda: "mesh" in chart.health().key_problems, LIMIT_S)

    assert chart.key_ring().fingerprints == ids(OTHER_KEY, KEY)
    assert chart.health().ready
    assert KEY.decode() not in caplog.text
    assert OTHER_KEY.decode() not in caplog.text


def test_sighup_has_the_files_read_at_once(vhost_url: str, tmp_path: Path) -> None:
    # Given a program that would read them at its next heartbeat, in ten minutes
    file = tmp_path / "keys"
    write(file, KEY)
    with Actor(PROGRAM, vhost_url, file) as program:
        assert program.heard() == {"keys": [*ids(KEY)]}
        for now in ((KEY, OTHER_KEY), (OTHER_KEY, KEY), (OTHER_KEY,)):
            write(file, *now)
            # When SIGHUP comes, more often than it is heeded
            for _ in range(3):
                program.signal(signal.SIGHUP)
            # Then its keys are those of the file
            assert program.heard() == {"keys": [*ids(*now)]}
        program.tell()
        assert program.wait(LIMIT_S) == 0


def test_sighup_is_for_the_main_thread() -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            reload_on_sighup()
        except LifecycleError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(raised) == 1


def said(url: str, capsys: pytest.CaptureFixture[str], *given: bytes) -> tuple[int, Any]:
    """What `miros-mesh keys` says, with these keys in its settings."""
    environ = {"MIROS_MESH_ENCRYPTION_KEY": ",".join(key.decode() for key in given)}
    code = keys(environ, broker_url=url, seconds=3, as_json=True)
    out = capsys.readouterr().out
    for key in (KEY, OTHER_KEY):
        assert key.decode() not in out
    return code, json.loads(out)


@pytest.mark.proof
def test_the_command_says_which_step_may_follow(
    vhost_url: str, launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    def config(name: str) -> MeshConfig:
        return MeshConfig(
            broker_url=vhost_url,
            mesh_encryption_key=KEY,
            node_name=name,
            heartbeat_interval_s=1.0,
        )

    charts = [launch(name, config(name)) for name in ("east", "west")]

    def steps(expected: int, *given: bytes) -> str:
        code, found = said(vhost_url, capsys, *given)
        assert code == expected, found
        nodes = found["networks"]["mesh"]["nodes"]
        assert [each["node"] for each in nodes] == ["east", "west"]
        return " ".join(each["text"] for each in found["networks"]["mesh"]["steps"])

    assert "nothing to do" in steps(0, KEY)
    charts[0].key_ring().add(OTHER_KEY)
    assert f"not on west: {fingerprint(OTHER_KEY)}" in steps(1, KEY)
    charts[1].key_ring().add(OTHER_KEY)
    assert "if it is the new one: use it" in steps(0, KEY)
    charts[0].key_ring().use(OTHER_KEY)
    assert "use it on west" in steps(0, OTHER_KEY, KEY)
    # With the old key alone the other nodes cannot be heard, and that is told
    code, found = said(vhost_url, capsys, KEY)
    assert code == 1
    assert found["unread"] > 0
    charts[1].key_ring().use(OTHER_KEY)
    assert "wait" in steps(1, OTHER_KEY, KEY)
    for chart in charts:
        chart.key_ring().remove(KEY)
    assert "nothing to do" in steps(0, OTHER_KEY)

    # And so it says to people
    environ = {"MIROS_MESH_ENCRYPTION_KEY": OTHER_KEY.decode()}
    assert keys(environ, broker_url=vhost_url, seconds=3, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    new = fingerprint(OTHER_KEY)
    assert lines[:4] == [
        "mesh:",
        f"  east: uses {new}",
        f"  west: uses {new}",
        f"  every node has {new} and no other key: nothing to do",
    ]
    assert [line for line in lines if line.endswith(":")] == ["mesh:", "snoop_trace:", "snoop_spy:"]


def test_the_command_says_when_it_hears_no_node(
    vhost_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = keys(
        {"MIROS_MESH_ENCRYPTION_KEY": KEY.decode()}, broker_url=vhost_url, seconds=1, as_json=False
    )

    assert code == 1
    assert "no node has said" in capsys.readouterr().err
