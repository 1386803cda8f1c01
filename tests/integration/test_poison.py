"""What a chart cannot use is set aside alone: what it dies of, and what it cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from miros import Event, return_status, signals

from miros_mesh import (
    ConfigError,
    MeshConfig,
    NetworkedActiveObject,
    NetworkedFactory,
    Observer,
)
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import DeadLetter
from support.charts_at_work import (
    KEY,
    Ground,
    Heard,
    Launch,
    alone,
    event,
)
from support.kept_letters import kept_letters
from support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

MANY = 40
POISON = 17
TIMES = 3


@pytest.fixture(params=["embedded", "rabbitmq"])
def kinds(request: pytest.FixtureRequest) -> Ground:
    """One mesh of each kind whose broker keeps its queues from one process to the next."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(
        lambda **given: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **given),
    )


class Deaths(Observer):
    """What a node tells of its charts' deaths and of what they set aside."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.aside: list[tuple[str, str]] = []
        self.drops: list[tuple[str, str]] = []

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self.errors.append(error)

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops.append((network, reason))


class Fragile:
    """A handler that keeps numbers, and raises for some of them."""

    def __init__(self, *fatal: int, heard: list[int] | None = None) -> None:
        self.fatal = fatal
        self.heard: list[int] = [] if heard is None else heard

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name != "number":
            return
        if received.payload in self.fatal:
            raise ValueError(f"no {received.payload}")
        self.heard.append(received.payload)


def until_dead(config: MeshConfig, handler: Fragile) -> Deaths:
    """Let one process of the name live until its chart dies."""
    told = Deaths()
    chart = NetworkedActiveObject("receiver", config=config.overridden(observers=(told,)))
    chart.start_at(alone(handler, spied=False))
    wait_until(lambda: told.errors, 20)
    chart.stop()
    return told


def queued(ground: Ground, launch: Launch, numbers: range) -> MeshConfig:
    """Send numbers to the queue of a named chart that is away; its settings."""
    config = ground.node("lasting", max_deliveries=TIMES)
    first = NetworkedActiveObject("receiver", config=config)
    first.start_at(alone(Heard(), spied=False))
    first.stop()
    sender = launch("sender", ground.node("sending"))
    for number in numbers:
        sender.transmit(event("number", number))
    assert sender.stop().all_confirmed
    return config


def test_a_poison_event_is_set_aside_and_all_beside_it_is_handled_once_in_order(
    kinds: Ground, launch: Launch
) -> None:
    # Given a frame of many events of which the chart dies of one
    config = queued(kinds, launch, range(MANY))
    handler = Fragile(POISON)

    # When processes of its name come and die, as often as it may
    for _ in range(TIMES):
        until_dead(config, handler)
        assert kept_letters(config) == []
        # What was handled before the death is not handled again
        assert handler.heard == list(range(POISON))

    # Then the next one sets it aside, and handles the rest
    told = Deaths()
    chart = launch("receiver", config.overridden(observers=(told,)), handler)
    wait_until(lambda: handler.heard[-1] == MANY - 1)
    assert handler.heard == [number for number in range(MANY) if number != POISON]
    assert told.aside == [("receiver", "poison")]
    (letter,) = wait_until(lambda: kept_letters(config))
    assert_poison(letter)

    # And one more handles nothing again, and sets nothing aside
    chart.stop()
    launch("receiver", config, handler)
    launch("sender", kinds.node("sending_anew")).transmit(event("number", MANY))
    wait_until(lambda: handler.heard[-1] == MANY)
    assert handler.heard == [number for number in range(MANY + 1) if number != POISON]
    assert kept_letters(config) == [letter]


def assert_poison(letter: DeadLetter) -> None:
    assert (letter.node, letter.chart) == ("lasting", "receiver")
    assert (letter.reason, letter.detail, letter.deliveries) == ("poison", "ValueError", TIMES)
    assert letter.queue.startswith("miros_mesh.v1.mesh.lasting.receiver.")
    assert letter.event is not None
    assert (letter.event.signal, letter.event.chart) == ("number", "sender")
    assert letter.event.node == "sending"
    assert letter.frame == b""
    assert 0 < letter.size_bytes < 200
    assert len(letter.digest) == 64


def test_the_next_chart_of_the_name_may_live_in_the_same_process(
    kinds: Ground, launch: Launch
) -> None:
    # Given a node that another chart keeps alive
    told = Deaths()
    config = queued(kinds, launch, range(MANY)).overridden(observers=(told,))
    launch("another", config, rx_routing_key="elsewhere")
    handler = Fragile(POISON)

    # When charts of one name die there
    for lives in range(1, TIMES + 1):
        chart = NetworkedActiveObject("receiver", config=config)
        chart.start_at(alone(handler, spied=False))
        wait_until(lambda lives=lives: len(told.errors) == lives)
        chart.stop()
        assert handler.heard == list(range(POISON))

    # Then the next one goes on
    launch("receiver", config, handler)
    wait_until(lambda: handler.heard[-1] == MANY - 1)
    assert handler.heard == [number for number in range(MANY) if number != POISON]
    (letter,) = wait_until(lambda: kept_letters(config))
    assert_poison(letter)


def test_two_poison_events_of_one_frame_are_set_aside_one_after_the_other(
    kinds: Ground, launch: Launch
) -> None:
    config = queued(kinds, launch, range(MANY))
    handler = Fragile(POISON, POISON + 1)

    for _ in range(2 * TIMES):
        until_dead(config, handler)

    launch("receiver", config, handler)
    wait_until(lambda: handler.heard[-1] == MANY - 1)
    assert handler.heard == [n for n in range(MANY) if n not in handler.fatal]
    wait_until(lambda: len(kept_letters(config)) == 2)


def test_a_handler_that_is_corrected_in_time_gets_the_event(kinds: Ground, launch: Launch) -> None:
    config = queued(kinds, launch, range(MANY))
    handler = Fragile(POISON)
    for _ in range(TIMES - 1):
        until_dead(config, handler)

    handler.fatal = ()
    launch("receiver", config, handler)

    wait_until(lambda: handler.heard[-1] == MANY - 1)
    assert handler.heard == list(range(MANY))
    assert kept_letters(config) == []


def test_zero_deliveries_are_for_ever(kinds: Ground, launch: Launch) -> None:
    config = queued(kinds, launch, range(3)).overridden(max_deliveries=0)
    handler = Fragile(1)

    for _ in range(7):
        until_dead(config, handler)

    assert handler.heard == [0]
    assert kept_letters(config) == []


def test_deaths_by_an_event_of_its_own_count_for_no_event(kinds: Ground, launch: Launch) -> None:
    """The chart dies of what it posts to itself when it hears one; that one was handled."""
    config = queued(kinds, launch, range(3))
    heard: list[int] = []

    def handle(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "own":
            raise ValueError("of my own")
        if received.signal_name == "number":
            heard.append(received.payload)
            if received.payload == 1:
                chart.post_fifo(event("own"))

    told = Deaths()
    chart = NetworkedActiveObject("receiver", config=config.overridden(observers=(told,)))
    chart.start_at(alone(handle, spied=False))
    wait_until(lambda: told.errors)
    chart.stop()

    launch("receiver", config, handle)
    wait_until(lambda: heard[-1] == 2)
    assert heard == [0, 1, 2]
    assert kept_letters(config) == []


def test_the_log_of_a_death_names_the_event_and_its_sender(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = MemoryMesh()
    told = Deaths()
    launch("receiver", mesh.config(node_name="lasting", observers=(told,)), Fragile(1))
    sender = launch("sender", mesh.config(node_name="sending"))

    sender.transmit(event("number", 1))

    wait_until(lambda: told.errors)
    (line,) = [r.getMessage() for r in caplog.records if "is dead" in r.getMessage()]
    assert line.startswith("chart receiver is dead: a handler of number (")
    assert "/sender/1) from sending/sender raised; it gets no more events" in line


def test_the_log_of_a_death_names_the_signal_of_an_event_of_its_own(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Deaths()
    chart = launch("receiver", MemoryMesh().config(observers=(told,)), Fragile(1))

    chart.post_fifo(event("number", 1))

    wait_until(lambda: told.errors)
    assert "chart receiver is dead: a handler of its own number raised" in caplog.text


# Charts that live on


def outliving(
    launch: Launch, config: MeshConfig, handler: Any, **more: Any
) -> NetworkedActiveObject:
    return launch("receiver", config, handler, on_handler_error="dead_letter", **more)


def test_a_chart_that_outlives_its_handler_sets_the_event_aside_at_once(
    kinds: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    told, handler = Deaths(), Fragile(3, 5)
    config = kinds.node("lasting", observers=(told,))
    chart = outliving(launch, config, handler)
    sender = launch("sender", kinds.node("sending"))

    for number in range(MANY):
        sender.transmit(event("number", number))

    wait_until(lambda: len(handler.heard) == MANY - 2)
    assert handler.heard == [number for number in range(MANY) if number not in (3, 5)]
    assert told.aside == [("receiver", "handler")] * 2
    assert told.errors == []
    assert "chart receiver goes on: a handler of number" in caplog.text
    # What is acknowledged does not come again
    chart.stop()
    again = Fragile()
    outliving(launch, config, again)
    sender.transmit(event("number", MANY))
    wait_until(lambda: again.heard)
    assert again.heard == [MANY]
    letters = kept_letters(config)
    assert [(each.reason, each.detail, each.deliveries) for each in letters] == [
        ("handler", "ValueError", 1)
    ] * 2


class Doors:
    """A factory with two states, of which the entry of the second one may raise."""

    def __init__(self, config: MeshConfig) -> None:
        self.seen: list[str] = []
        self.raising = True
        self.chart = chart = NetworkedFactory(
            "receiver", config=config, on_handler_error="dead_letter"
        )
        self.first = (
            chart.create(state="first")
            .catch(signal=signals.EXIT_SIGNAL, handler=self._note("exit first"))
            .catch(signal=signals.go, handler=self._go)
            .catch(signal=signals.where, handler=self._note("in first"))
            .to_method()
        )
        self.second = (
            chart.create(state="second")
            .catch(signal=signals.ENTRY_SIGNAL, handler=self._enter)
            .catch(signal=signals.where, handler=self._note("in second"))
            .to_method()
        )
        chart.nest(self.first, parent=None).nest(self.second, parent=None)

    # miros hands a bound method the event alone.
    def _go(self, _: Event) -> Any:
        return self.chart.trans(self.second)

    def _enter(self, _: Event) -> Any:
        if self.raising:
            raise ValueError("no entry")
        self.seen.append("enter second")
        return return_status.HANDLED

    def _note(self, what: str) -> Callable[[NetworkedFactory, Event], Any]:
        def note(_: NetworkedFactory, __: Event) -> Any:
            self.seen.append(what)
            return return_status.HANDLED

        return note


def test_a_chart_that_outlives_its_handler_is_in_the_state_before(launch: Launch) -> None:
    """The exit of the first state has run, and the entry of the second one raises."""
    mesh = MemoryMesh()
    doors = Doors(mesh.config())
    doors.chart.start_at(doors.first)
    sender = launch("sender", mesh.config(node_name="sending"))
    try:
        for signal in ("go", "where"):
            sender.transmit(event(signal))
        wait_until(lambda: "in first" in doors.seen)
        doors.raising = False
        for signal in ("go", "where"):
            sender.transmit(event(signal))
        wait_until(lambda: "in second" in doors.seen)
        assert "e->go() first->second" in doors.chart.trace()
    finally:
        doors.chart.stop()
    assert doors.seen == ["exit first", "in first", "exit first", "enter second", "in second"]


def test_an_event_of_its_own_that_raises_is_counted_and_gone(launch: Launch) -> None:
    told, handler = Deaths(), Fragile(1)
    chart = outliving(launch, MemoryMesh().config(observers=(told,)), handler)

    for number in (0, 1, 2):
        chart.post_fifo(event("number", number))

    wait_until(lambda: handler.heard == [0, 2])
    assert told.drops == [("chart", "handler")]
    assert told.aside == []


def test_what_ends_a_thread_ends_a_chart_that_outlives_errors(launch: Launch) -> None:
    told = Deaths()

    def leave(_: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "leave":
            raise SystemExit(3)

    chart = outliving(launch, MemoryMesh().config(observers=(told,)), leave)

    chart.post_fifo(event("leave"))

    wait_until(lambda: told.errors)


@pytest.mark.parametrize(("word", "aside"), [("stop", 0), ("dead_letter", 1)])
def test_a_callback_that_raises(launch: Launch, word: str, aside: int) -> None:
    told, heard = Deaths(), list[int]()

    def take(received: Event) -> None:
        if received.payload == 1:
            raise ValueError("no 1")
        heard.append(received.payload)

    config = MeshConfig(node_name="lasting", observers=(told,))
    launch("receiver", config, on_mesh_rx=take, on_handler_error=word)
    sender = launch("sender", MeshConfig(node_name="sending"))

    for number in range(3):
        sender.transmit(event("number", number))

    wait_until(lambda: heard == [0, 2])
    wait_until(lambda: len(kept_letters(config)) == aside)
    assert told.aside == [("receiver", "handler")] * aside


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_handler_error must be one of stop, dead_letter"):
        NetworkedActiveObject("chart", on_handler_error="ignore")  # type: ignore[arg-type]
