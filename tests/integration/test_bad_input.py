"""What a stranger can get wrong: each gives a typed error that says what to do, and no harm."""

from __future__ import annotations

import bz2
import dataclasses
import logging
import os
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from miros import ActiveObject

from miros_mesh import ConfigError, MeshConfig, NetworkedActiveObject, NetworkedFactory
from miros_mesh.errors import (
    AlreadyStartedError,
    BrokerUnreachableError,
    ChartNameTakenError,
    CredentialsRefusedError,
    EmbeddedStoreError,
    EventTooLargeError,
    MeshError,
    NotStartedError,
    PayloadError,
    RoutingKeyError,
    SignalError,
    StoppedError,
    VirtualHostError,
)
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import Envelope, SnoopRecord
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Ground,
    Heard,
    Launch,
    Recorder,
    alone,
    event,
    publish,
    seal,
)
from support.rabbitmq_server import HOST, USER, RabbitServer, free_ports
from support.waiting import wait_until

PASSWORD = "hush-4711-pass"
NO_KEY = "hush-4711-this-is-no-fernet-key"
SECRETS = ("hush-4711", KEY.decode(), OTHER_KEY.decode(), "rabbit:rabbit")
NOBODY = 65_534


@pytest.fixture(scope="module", autouse=True)
def _threads_of_miros() -> None:
    """Start what miros keeps running in a process once a chart has started."""
    chart = ActiveObject("first")
    chart.start_at(alone(Heard()))
    chart.stop()


@pytest.fixture(autouse=True)
def _nothing_left_and_nothing_told(
    _threads_of_miros: None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """No thread of any kind stays, and no secret is logged or printed."""
    caplog.set_level(logging.DEBUG)
    before = set(threading.enumerate())
    yield
    wait_until(lambda: set(threading.enumerate()) <= before, 5, message="threads ended")
    printed = capfd.readouterr()
    for secret in SECRETS:
        assert secret not in caplog.text + printed.out + printed.err


def refused(kind: type[MeshError], call: Callable[[], object]) -> str:
    """The message of the error of exactly this kind; no form of the error shows a secret."""
    with pytest.raises(kind) as raised:
        call()
    error = raised.value
    assert type(error) is kind
    shown = "".join([str(error), repr(error), *traceback.format_exception(error)])
    assert not [secret for secret in SECRETS if secret in shown]
    return str(error)


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < limit_s


def starting(config: MeshConfig) -> Callable[[], None]:
    return lambda: NetworkedActiveObject("a", config=config).start_at(alone(Heard()))


# The broker


@pytest.mark.parametrize("mode", ["ancestor", "shared"])
def test_an_unreachable_broker_is_named_with_what_to_check(mode: str) -> None:
    [port] = free_ports(1)
    ways: dict[str, dict[str, Any]] = {
        "ancestor": {"rabbit_user": USER, "rabbit_password": PASSWORD, "rabbit_port": port},
        "shared": {"broker_url": f"amqp://{USER}:{PASSWORD}@{HOST}:{port}//"},
    }
    config = MeshConfig(mesh_encryption_key=KEY, **ways[mode])
    with within(10):
        message = refused(BrokerUnreachableError, starting(config))
    assert f"{HOST}:{port}" in message
    assert "is the port right?" in message


def test_a_host_name_that_does_not_exist_is_told_apart_from_a_broker_that_is_down() -> None:
    config = MeshConfig(
        broker_url=f"amqp://{USER}:{PASSWORD}@no-such-host.invalid//", mesh_encryption_key=KEY
    )
    with within(10):
        message = refused(BrokerUnreachableError, starting(config))
    assert "no such host name" in message


def test_a_broker_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        config = MeshConfig(
            broker_url=f"amqp://{USER}:{PASSWORD}@{HOST}:{port}//",
            mesh_encryption_key=KEY,
            connect_timeout_s=0.2,
            connection_attempts=2,
        )
        with within(5):
            message = refused(BrokerUnreachableError, starting(config))
    assert f"{HOST}:{port}" in message


def test_a_chart_whose_broker_was_down_starts_once_the_broker_is_there(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    chart = NetworkedActiveObject("patient", config=config)
    rabbitmq.stop()
    refused(BrokerUnreachableError, lambda: chart.start_at(alone(Heard())))
    rabbitmq.start()
    chart.start_at(alone(Heard()))
    assert chart.stop().left_over == 0


@pytest.mark.parametrize(("user", "password"), [(USER, PASSWORD), ("nobody", PASSWORD)])
def test_a_wrong_password_and_an_unknown_user_are_refused_alike(
    rabbitmq: RabbitServer, user: str, password: str
) -> None:
    rabbitmq.start()
    config = MeshConfig(
        broker_url=rabbitmq.url("/", user, password), mesh_encryption_key=KEY, connection_attempts=9
    )
    # One attempt, since trying again helps nobody
    with within(5):
        message = refused(CredentialsRefusedError, starting(config))
    assert "refused the user or the password" in message
    assert "rabbitmqctl authenticate_user" in message
    assert f"{user}@{HOST}:{rabbitmq.port}" in message


def test_a_missing_virtual_host_is_named(rabbitmq: RabbitServer) -> None:
    rabbitmq.start()
    config = MeshConfig(
        broker_url=rabbitmq.url("no-such-vhost"), mesh_encryption_key=KEY, connection_attempts=9
    )
    with within(5):
        message = refused(VirtualHostError, starting(config))
    assert "no-such-vhost" in message
    assert "rabbitmqctl list_vhosts" in message


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f"amqp//{USER}:{PASSWORD}@{HOST}//", "amqp://"),
        (f"http://{USER}:{PASSWORD}@{HOST}//", "amqp"),
        (f"amqp://{USER}:{PASSWORD}@{HOST}:port//", "port"),
        (f"amqp://{USER}:{PASSWORD}@{HOST}:70000//", "port"),
        (f"amqp://{USER}:{PASSWORD}@//", "host"),
        (f"{USER}:{PASSWORD}@{HOST}", "amqp"),
        (PASSWORD, "amqp"),
        ("", "amqp"),
    ],
)
def test_a_malformed_url_is_refused_before_anything_is_connected(url: str, hint: str) -> None:
    message = refused(ConfigError, lambda: MeshConfig(broker_url=url, mesh_encryption_key=KEY))
    assert "broker_url" in message
    assert hint in message


def test_every_wrong_setting_is_told_in_one_error() -> None:
    message = refused(
        ConfigError,
        lambda: NetworkedActiveObject(
            "a", rabbit_user=USER, mesh_encryption_key=NO_KEY, snoop_spy_encryption_key=PASSWORD
        ),
    )
    for setting in ("rabbit_password", "mesh_encryption_key", "snoop_spy_encryption_key"):
        assert setting in message


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("\x1b[2Jevil", r"'\x1b[2Jevil' holds what cannot be printed"),
        ("two\nlines", r"'two\nlines' holds what cannot be printed"),
        ("n" * 151, "has 151 bytes; 140 are the most"),
    ],
)
def test_a_name_that_no_queue_and_no_terminal_could_bear_is_refused(name: str, why: str) -> None:
    message = refused(ConfigError, lambda: NetworkedActiveObject(name, config=MeshConfig()))
    assert f"the chart's name {why}" in message
    assert "\x1b" not in message


@pytest.mark.parametrize("kind", [NetworkedActiveObject, NetworkedFactory])
def test_each_callback_that_cannot_be_called_is_refused_by_the_constructor(kind: Any) -> None:
    with pytest.raises(ConfigError) as error:
        kind("deaf", on_mesh_rx=print, on_trace_rx="no", on_spy_rx=7)
    trace, spy = error.value.problems
    assert trace == "on_trace_rx: a function that takes what has come, or None; not of type str"
    assert spy == "on_spy_rx: a function that takes what has come, or None; not of type int"
    with pytest.raises(ConfigError, match="on_mesh_rx"):
        kind("deaf", on_mesh_rx=0)


# Keys


@pytest.mark.parametrize("network", ["mesh", "snoop_trace", "snoop_spy"])
@pytest.mark.parametrize("chart", [NetworkedActiveObject, NetworkedFactory])
def test_a_key_that_is_no_fernet_key_is_refused_by_the_constructor(
    chart: type[NetworkedActiveObject], network: str
) -> None:
    setting = f"{network}_encryption_key"
    message = refused(ConfigError, lambda: chart("a", **{setting: NO_KEY}))
    assert f"{setting} is not a Fernet key" in message
    assert "miros-mesh keygen" in message


def test_events_under_a_wrong_key_are_refused_and_counted_and_good_ones_still_arrive(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a chart of our mesh, one with another key, and a good one
    recorder, heard = Recorder(), Heard()
    ours, theirs = {"mesh_encryption_key": KEY}, {"mesh_encryption_key": OTHER_KEY}
    launch("listener", ground.node("home", observers=(recorder,)).overridden(**ours), heard)
    stranger = launch("stranger", ground.node("stranger").overridden(**theirs))
    friend = launch("friend", ground.node("friend").overridden(**ours))
    # When the stranger and then the friend transmit
    stranger.transmit(event("from_stranger", PASSWORD))
    wait_until(lambda: recorder.drops)
    friend.transmit(event("from_friend", 1))
    # Then one event is handled and the other one counted and logged, with what to check
    wait_until(lambda: heard == [("from_friend", 1)])
    assert recorder.drops == [("mesh", "undecryptable", 1)]
    assert "no key of the ring opens this frame; does every node have the same key?" in caplog.text


def test_two_keys_that_differ_tell_the_stranger_nothing_either(
    ground: Ground, launch: Launch
) -> None:
    recorder = Recorder()
    base = ground.node("home", observers=(recorder,))
    launch("own", base.overridden(mesh_encryption_key=KEY))
    stranger = launch("other", ground.node("away").overridden(mesh_encryption_key=OTHER_KEY))
    stranger.stop()
    # Its goodbye came under the wrong key as well
    wait_until(lambda: recorder.drops == [("mesh", "undecryptable", 1)])
    assert recorder.goodbyes == []


# Routing keys


@pytest.mark.parametrize("setting", ["tx_routing_key", "rx_routing_key"])
@pytest.mark.parametrize(("key", "length"), [("k" * 256, 256), ("é" * 128, 256)])
def test_a_routing_key_of_more_than_255_bytes_is_refused(
    setting: str, key: str, length: int
) -> None:
    message = refused(RoutingKeyError, lambda: NetworkedActiveObject("a", **{setting: key}))
    assert f"has {length} bytes" in message
    assert "at most 255" in message


def test_routing_keys_of_255_bytes_carry_events(ground: Ground, launch: Launch) -> None:
    heard, key = Heard(), "é" * 127 + "k"
    launch("b", ground.node("two"), heard, rx_routing_key=key)
    launch("a", ground.node("one"), tx_routing_key=key).transmit(event("far"))
    wait_until(lambda: heard == [("far", None)])


def test_a_wildcard_in_a_sent_routing_key_is_refused_with_a_hint() -> None:
    message = refused(RoutingKeyError, lambda: NetworkedActiveObject("a", tx_routing_key="heya.*"))
    assert "rx_routing_key" in message


# What is transmitted


class Unknown:
    """A thing that no serializer knows, whose repr tells a secret."""

    def __repr__(self) -> str:
        return PASSWORD


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"a": [1, 2j]}, "payload['a'][1]"),
        ({"deep": {"er": Unknown()}}, "payload['deep']['er']"),
        (Unknown(), "payload is"),
        ({1: "a key that is no str"}, "payload"),
        (2**70, "payload"),
        (len, "payload"),
    ],
)
def test_a_payload_that_cannot_travel_is_refused_by_its_path_and_leaves_no_gap(
    launch: Launch, payload: object, path: str
) -> None:
    mesh, heard, recorder = MemoryMesh(), Heard(), Gaps()
    launch("b", mesh.config(node_name="two", observers=(recorder,)), heard)
    chart = launch("a", mesh.config(node_name="one"))
    chart.transmit(event("before"))
    message = refused(PayloadError, lambda: chart.transmit(event("never", payload)))
    chart.transmit(event("after"))
    assert path in message
    wait_until(lambda: heard == [("before", None), ("after", None)])
    assert recorder.gaps == 0


class Gaps(Recorder):
    gaps = 0

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps += missing


def test_a_payload_that_contains_itself_is_refused(launch: Launch) -> None:
    loop: list[Any] = []
    loop.append(loop)
    chart = launch("a", MemoryMesh().config())
    refused(PayloadError, lambda: chart.transmit(event("never", loop)))


def test_an_event_over_the_limit_is_refused_with_the_limit_and_the_setting(
    ground: Ground, launch: Launch
) -> None:
    heard = Heard()
    launch("b", ground.node("two"), heard)
    chart = launch("a", ground.node("one"))
    message = refused(
        EventTooLargeError, lambda: chart.transmit(event("large", bytes(1024 * 1024)))
    )
    assert "1,048,576" in message
    assert "max_event_bytes" in message
    # And the largest event below the limit travels
    largest = bytes(1024 * 1024 - 256)
    chart.transmit(event("fits", largest))
    wait_until(lambda: heard == [("fits", largest)])


@pytest.mark.parametrize("signal", ["ENTRY_SIGNAL", "STOP_ACTIVE_OBJECT_SIGNAL", "miros_mesh.x"])
def test_a_signal_of_miros_or_of_the_library_is_not_transmitted(
    launch: Launch, signal: str
) -> None:
    chart = launch("a", MemoryMesh().config())
    message = refused(SignalError, lambda: chart.transmit(event(signal)))
    assert "a signal of your own" in message


# The life of a chart


def test_transmit_and_scribble_before_start_at_are_refused() -> None:
    chart = NetworkedActiveObject("early", config=MemoryMesh().config())
    assert "early" in refused(NotStartedError, lambda: chart.transmit(event("e")))
    assert "before start_at" in refused(NotStartedError, lambda: chart.snoop_scribble("s"))
    assert chart.stop().left_over == 0


def test_transmit_scribble_and_start_at_after_stop_are_refused(launch: Launch) -> None:
    chart = launch("late", MemoryMesh().config())
    chart.stop()
    assert "after stop" in refused(StoppedError, lambda: chart.transmit(event("e")))
    assert "after stop" in refused(StoppedError, lambda: chart.snoop_scribble("s"))
    assert "make a new one" in refused(StoppedError, lambda: chart.start_at(alone(Heard())))
    assert chart.stop().left_over == 0


def test_start_at_twice_is_refused_and_the_chart_goes_on(launch: Launch) -> None:
    mesh, heard = MemoryMesh(), Heard()
    chart = launch("once", mesh.config(node_name="one"), heard)
    message = refused(AlreadyStartedError, lambda: chart.start_at(alone(Heard())))
    assert "once" in message
    launch("other", mesh.config(node_name="two")).transmit(event("still"))
    wait_until(lambda: heard == [("still", None)])


def test_two_live_charts_of_one_name_on_one_node_are_refused(launch: Launch) -> None:
    config = MemoryMesh().config()
    first = launch("twin", config)
    message = refused(ChartNameTakenError, lambda: launch("twin", config))
    assert "'twin'" in message
    # And the name is free again after the first one
    first.stop()
    launch("twin", config)


# Frames of strangers


def newer(config: MeshConfig) -> bytes:
    return b"\x09" + _sealed(config)[1:]


def of_another_network(config: MeshConfig) -> bytes:
    record = SnoopRecord("n", "c", "i", 1, "trace", 1.0, "text")
    return seal(config, record, network="snoop_trace")


def random_bytes(_: MeshConfig) -> bytes:
    return b"\xa5" + os.urandom(300)


def random_bytes_of_our_version(_: MeshConfig) -> bytes:
    return b"\x01" + os.urandom(300)


def changed_in_one_byte(config: MeshConfig) -> bytes:
    frame = bytearray(_sealed(config))
    frame[40] ^= 1
    return bytes(frame)


def truncated(config: MeshConfig) -> bytes:
    return _sealed(config)[:-1]


def empty(_: MeshConfig) -> bytes:
    return b""


@pytest.mark.parametrize("ground", ["embedded", "rabbitmq"], indirect=True)
@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (random_bytes, "version", "a frame of version 165"),
        (random_bytes_of_our_version, "undecryptable", "does every node have the same key?"),
        (changed_in_one_byte, "undecryptable", "does every node have the same key?"),
        (truncated, "undecryptable", "does every node have the same key?"),
        (empty, "malformed", "an empty frame"),
        (newer, "version", "a frame of version 9, and this library reads 1, 2, 3"),
        (of_another_network, "wrong_network", "a frame of network 'snoop_trace.5'"),
    ],
)
def test_a_strange_frame_is_refused_once_counted_logged_and_good_events_still_arrive(
    ground: Ground,
    launch: Launch,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[MeshConfig], bytes],
    reason: str,
    words: str,
) -> None:
    # Given a listener and a good sender
    heard, recorder = Heard(), Recorder()
    config = ground.node("home", observers=(recorder,))
    launch("listener", config, heard)
    sender = launch("sender", ground.node("away"))
    # When a stranger publishes to the exchange of the mesh
    publish(config, make(config))
    wait_until(lambda: recorder.drops)
    # Then the frame is refused and not delivered again, and the chart goes on
    sender.transmit(event("good", 1))
    wait_until(lambda: heard == [("good", 1)])
    assert recorder.drops == [("mesh", reason, 1)]
    assert words in caplog.text


def _sealed(config: MeshConfig) -> bytes:
    return seal(config, Envelope("n", "c", "i", 1, "never", b"\xc0", 1.0))


@pytest.mark.parametrize(
    ("body", "properties", "reason"),
    [
        ("text", {"content_type": "text/plain", "content_encoding": "utf-8"}, "version"),
        ("", {"content_type": "text/plain", "content_encoding": "utf-8"}, "malformed"),
        (b"{", {"content_type": "application/json", "content_encoding": "no-such"}, "version"),
        (b"x", {"headers": {"compression": "no-such"}}, "version"),
        # As it is it begins with a "B"; unpacked it would be too large.
        (bz2.compress(bytes(2**26)), {"headers": {"compression": "application/x-bz2"}}, "version"),
    ],
    ids=["text", "no-text", "unknown-encoding", "unknown-compression", "bomb"],
)
def test_a_message_that_another_program_published_is_taken_for_the_bytes_that_it_is(
    launch: Launch, vhost_url: str, body: str | bytes, properties: dict[str, Any], reason: str
) -> None:
    heard, recorder = Heard(), Recorder()
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    launch("listener", dataclasses.replace(config, observers=(recorder,)), heard)
    publish(config, body, **properties)
    launch("sender", config).transmit(event("good", 1))
    wait_until(lambda: heard == [("good", 1)])
    assert recorder.drops == [("mesh", reason, 1)]
    assert recorder.peers == 1


# The home folder


def test_a_home_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    home = tmp_path / "file" / "home"
    message = refused(EmbeddedStoreError, starting(MeshConfig(home=home)))
    assert str(home) in message
    assert "MIROS_MESH_HOME" in message


def test_a_home_folder_without_write_permission_is_named_and_can_be_mended(
    folder_of_an_ordinary_user: Path,
) -> None:
    home = folder_of_an_ordinary_user
    home.chmod(0o500)
    chart = NetworkedActiveObject("a", config=MeshConfig(home=home))
    message = refused(EmbeddedStoreError, lambda: chart.start_at(alone(Heard())))
    assert f"chmod 700 {home}" in message
    home.chmod(0o700)
    chart.start_at(alone(Heard()))
    chart.stop()


@pytest.fixture
def folder_of_an_ordinary_user() -> Iterator[Path]:
    """A folder; nothing is unwritable for root, so root becomes somebody else for the test."""
    with tempfile.TemporaryDirectory(prefix="miros-mesh-") as parent:
        home = Path(parent) / "home"
        home.mkdir(mode=0o700)
        if os.geteuid():
            yield home
            return
        Path(parent).chmod(0o755)
        os.chown(home, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield home
        finally:
            os.setresuid(0, 0, 0)


def test_a_home_folder_that_others_may_read_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o755)
    message = refused(EmbeddedStoreError, starting(MeshConfig(home=home)))
    assert f"chmod 700 {home}" in message


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "damaged"
    home.mkdir(mode=0o700)
    file = home / "mesh.key"
    file.write_text(NO_KEY)
    file.chmod(0o600)
    message = refused(EmbeddedStoreError, starting(MeshConfig(home=home)))
    assert str(file) in message


def test_a_damaged_store_is_named_and_not_touched(tmp_path: Path) -> None:
    home = tmp_path / "store"
    config = MeshConfig(home=home)
    chart = NetworkedActiveObject("first", config=config)
    chart.start_at(alone(Heard()))
    chart.stop()
    database = home / "broker.db"
    database.write_bytes(b"no database at all" * 1000)
    message = refused(EmbeddedStoreError, starting(config))
    assert str(database) in message
