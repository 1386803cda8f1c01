"""Defects that a review found, each as the promise that it broke."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

import miros_mesh.cli.check as checking
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.cli.check import check
from miros_mesh.errors import BrokerUnreachableError, ConfigError, PayloadError
from miros_mesh.link.publisher import BrokerPublisher
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import Mesh
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import SnoopRecord
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, alone, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

LIMIT_S = 10.0
USER, PASSWORD = "joe", "joes"
ALL, NOTHING = ".*", "^$"


class Busy:
    """Handles `own` events only once the gate is open, and keeps what else it hears."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.heard: list[Any] = []

    def __call__(self, _: NetworkedActiveObject, received: Any) -> None:
        if received.signal_name == "own":
            self.gate.wait(LIMIT_S)
        else:
            self.heard.append(received.payload)


@pytest.fixture
def memory() -> Ground:
    return Ground(MemoryMesh().config)


def test_an_event_that_waited_behind_the_charts_own_events_is_handled_after_them(
    memory: Ground, launch: Launch
) -> None:
    busy = Busy()
    chart = launch("busy", memory.node("one"), busy)
    sender = launch("sender", memory.node("two"))
    for _ in range(150):
        chart.post_fifo(event("own"))

    sender.transmit(event("hello", 1))
    session = chart._session
    wait_until(lambda: session is not None and session.inbox._waiting)
    busy.gate.set()

    wait_until(lambda: busy.heard == [1], LIMIT_S)


def test_a_fifo_that_overflows_with_the_charts_own_events_loses_no_received_one(
    memory: Ground, launch: Launch
) -> None:
    busy = Busy()
    chart = launch("busy", memory.node("one"), busy)
    sender = launch("sender", memory.node("two"))
    chart.post_fifo(event("own"))
    for number in range(40):
        sender.transmit(event("hello", number))
    wait_until(lambda: len(chart.queue) == 40)

    for _ in range(470):
        chart.post_lifo(event("own"))
    for _ in range(30):
        chart.post_fifo(event("own"))
    busy.gate.set()

    wait_until(lambda: busy.heard == list(range(40)), LIMIT_S)


def test_an_observer_may_stop_a_chart_that_died(
    memory: Ground, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda facts: raised.append(facts.exc_value))

    class Undertaker(Recorder):
        def chart_died(self, *, chart: str, error: BaseException) -> None:
            super().chart_died(chart=chart, error=error)
            mortal.stop()

    def explode(_: NetworkedActiveObject, __: object) -> None:
        raise ValueError("boom")

    undertaker = Undertaker()
    mortal = launch("mortal", memory.node("one", observers=(undertaker,)), explode)
    launch("sender", memory.node("two")).transmit(event("hello"))

    wait_until(lambda: raised, LIMIT_S)
    assert [str(error) for error in raised] == ["boom"]
    assert [chart for chart, _ in undertaker.deaths] == ["mortal"]


def test_a_snoop_callback_that_cannot_be_hashed_and_raises_is_called_again(memory: Ground) -> None:
    @dataclass
    class Counting:
        calls: int = 0

        def __call__(self, _: SnoopRecord) -> None:
            self.calls += 1
            raise ValueError("boom")

    counting = Counting()
    chart = NetworkedActiveObject("a", config=memory.node("one"), on_trace_rx=counting)
    chart.enable_snoop_trace()
    chart.start_at(alone(Heard()))
    try:
        chart.snoop_scribble("once more")
        wait_until(lambda: counting.calls == 2, LIMIT_S)
    finally:
        chart.stop()


def test_a_serializer_of_the_application_that_raises_is_told_as_a_payload_error(
    memory: Ground, launch: Launch
) -> None:
    class Broken:
        name = "broken"

        def dumps(self, payload: Any) -> bytes:
            raise ZeroDivisionError(payload)

        def loads(self, data: bytes) -> Any:
            return data

    chart = launch("a", memory.node("one", serializer=Broken()))

    with pytest.raises(PayloadError, match="serializer broken .* ZeroDivisionError"):
        chart.transmit(event("hello", "secret"))


@pytest.mark.parametrize("name", ["x" * 151, "ö" * 76, "two\nlines", "\ud800"])
def test_a_chart_is_refused_a_name_that_cannot_end_a_queues_name(memory: Ground, name: str) -> None:
    with pytest.raises(ConfigError, match="the chart's name"):
        NetworkedActiveObject(name, config=memory.node("one"))


def test_a_chart_hears_again_once_the_permission_that_it_lost_is_given_back(
    rabbitmq: RabbitServer, vhost: str, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    rabbitmq.add_user(USER, PASSWORD)

    def permit(configure: str, read: str) -> None:
        rabbitmq.set_permissions(USER, vhost, configure, ALL, read)

    try:
        permit(ALL, ALL)
        heard = Heard()
        own = _shared(rabbitmq.url(vhost, USER, PASSWORD), node_name="one", heartbeat_interval_s=1)
        launch("receiver", own, heard)
        sender = launch("sender", _shared(rabbitmq.url(vhost), node_name="two"))
        permit(ALL, NOTHING)
        rabbitmq.close_all_connections()
        wait_until(lambda: "cannot consume" in caplog.text, LIMIT_S)

        permit(ALL, ALL)
        sender.transmit(event("hello", 1))

        wait_until(lambda: heard.payloads == [1], LIMIT_S)
    finally:
        rabbitmq.delete_user(USER)


def test_snooping_that_failed_while_the_broker_was_away_can_be_asked_for_again(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    shown: list[SnoopRecord] = []
    impatient = {"connect_timeout_s": 0.5, "confirm_timeout_s": 0.5}
    watcher = launch(
        "watcher", _shared(vhost_url, node_name="one", **impatient), on_trace_rx=shown.append
    )
    rabbitmq.stop()
    with pytest.raises(BrokerUnreachableError):
        watcher.enable_snoop_trace()
    rabbitmq.start()

    def watching() -> bool:
        try:
            watcher.enable_snoop_trace()
        except BrokerUnreachableError:
            return False
        return True

    wait_until(watching, 30.0)
    other = NetworkedActiveObject("other", config=_shared(vhost_url, node_name="two"))
    other.enable_snoop_trace_no_color()
    other.start_at(alone(Heard()))
    try:
        wait_until(lambda: any(record.chart == "other" for record in shown), LIMIT_S)
    finally:
        other.stop()


def test_check_is_not_satisfied_by_what_an_earlier_check_left_behind(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {
        "MIROS_MESH_BROKER_URL": vhost_url,
        "MESH_ENCRYPTION_KEY": KEY.decode(),
        "MIROS_MESH_NODE_NAME": "lasting",
    }
    monkeypatch.setattr(checking, "ROUND_TRIP_LIMIT_S", 1.0)
    with monkeypatch.context() as crippled:
        crippled.setattr(Inbox, "finished", lambda *_: None)
        assert check(environ, broker_url=None) == 0

    monkeypatch.setattr(Mesh, "transmit", lambda *_: None)

    assert check(environ, broker_url=None) == 1
    assert "FAIL  an event sent out did not come back" in capsys.readouterr().out


def test_a_frame_that_still_waits_does_not_grow_once_its_peer_is_detached(memory: Ground) -> None:
    recorder = Recorder()
    chart = NetworkedActiveObject("a", config=memory.node("one", observers=(recorder,)))
    chart.start_at(alone(Heard()))
    publisher = node_of(chart).peers.add(node_of(chart).home)
    assert isinstance(publisher, BrokerPublisher)
    publisher._window = 0

    chart.transmit(event("hello"))
    node_of(chart).mesh.network.detach(publisher)
    chart.transmit(event("hello"))
    publisher._window = 100

    assert publisher.stop(LIMIT_S).left_over == 0
    assert recorder.drops == [("mesh", "no_peer", 1)]
    chart.stop()


def test_a_chart_that_comes_back_for_other_topics_hears_the_old_ones_no_more(
    ground: Ground, launch: Launch
) -> None:
    old = launch("moved", ground.node("lasting"), rx_routing_key="old.#")
    old.stop()
    heard = Heard()
    launch("moved", ground.node("lasting"), heard, rx_routing_key="new.#")
    unwanted = launch("old sender", ground.node("others"), tx_routing_key="old.topic")
    wanted = launch("new sender", ground.node("others"), tx_routing_key="new.topic")

    unwanted.transmit(event("hello", "old"))
    wanted.transmit(event("hello", "new"))

    wait_until(lambda: heard.payloads, LIMIT_S)
    assert heard.payloads == ["new"]


def _shared(url: str, **settings: Any) -> MeshConfig:
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, **settings)


def test_a_chart_stops_at_once_while_another_waits_for_a_broker_that_never_answers(
    memory: Ground,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//"
        slow = NetworkedActiveObject(
            "slow", config=_shared(url, connect_timeout_s=3.0, connection_attempts=1)
        )
        quick = NetworkedActiveObject("quick", config=memory.node("one"))
        quick.start_at(alone(Heard()))
        failures: list[BaseException] = []

        def connect() -> None:
            try:
                slow.start_at(alone(Heard()))
            except BrokerUnreachableError as error:
                failures.append(error)

        connecting = threading.Thread(target=connect)
        connecting.start()
        silent.settimeout(LIMIT_S)
        accepted, _ = silent.accept()

        began = time.monotonic()
        quick.stop()
        assert time.monotonic() - began < 1.5
        connecting.join(LIMIT_S)
        accepted.close()
        assert failures


def test_no_trace_costs_an_event() -> None:
    recorder = Recorder()
    mesh = MemoryMesh()
    chart = NetworkedActiveObject(
        "a", config=mesh.config(node_name="one", outbox_events=100, observers=(recorder,))
    )
    chart.enable_snoop_trace_no_color()
    chart.start_at(alone(Heard()))
    publisher = node_of(chart).peers.add(node_of(chart).home)
    assert isinstance(publisher, BrokerPublisher)
    wait_until(lambda: publisher._outbox.events == 0)
    publisher._window = 0

    for _ in range(50):
        chart.transmit(event("hello"))
    for number in range(200):
        chart.snoop_scribble(f"note {number}")
    publisher._window = 100

    assert chart.stop().left_over == 0
    assert {network for network, _, _ in recorder.drops} == {"snoop_trace"}


def test_check_names_the_address_that_answers(
    vhost_url: str, rabbitmq: RabbitServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()[1]
    urls = f"amqp://guest:guest@127.0.0.1:{dead}//,{vhost_url}"

    assert check({"MESH_ENCRYPTION_KEY": KEY.decode()}, broker_url=urls) == 0

    assert f"connected to 127.0.0.1:{rabbitmq.port}" in capsys.readouterr().out


def test_when_no_address_answers_the_error_tells_of_each(vhost_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()[1]
    wrong = vhost_url.replace(":rabbit@", ":wrong@")
    chart = NetworkedActiveObject(
        "a", config=_shared(f"{wrong},amqp://guest:guest@127.0.0.1:{dead}//")
    )

    with pytest.raises(BrokerUnreachableError, match="refused the user.*no answer") as raised:
        chart.start_at(alone(Heard()))

    assert raised.value.__cause__ is None
