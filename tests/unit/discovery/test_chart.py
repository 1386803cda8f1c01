"""What every chart of discovery has from its base."""

from __future__ import annotations

import threading

import pytest
from miros import Event

from miros_mesh.discovery.chart import ENTRY, DiscoveryChart, on
from support.discovery_field import Diary, ears, running, trace_of
from support.waiting import wait_until


class Door(DiscoveryChart):
    NEST = (("house", None), ("closed", "house"), ("opened", "house"))
    PUBLISHES = ("DOOR_MOVED",)

    def __init__(self, **common) -> None:
        super().__init__("door", **common)
        self.begin()

    @on("house", "push", to=("opened", "closed"))
    def push(self, event: Event) -> str | None:
        return str(event.payload) if event.payload else None

    @on("house", "publish")
    def publish_it(self, event: Event) -> None:
        self.publish(Event(signal=event.payload))

    @on("opened", ENTRY)
    def opened_entry(self, _: Event) -> None:
        self.later("draught", 0.01, "closed")
        self.later("draught", 0.02, "closed")

    @on("opened", "draught", to="closed")
    def draught(self, event: Event) -> str:
        return str(event.payload)


def test_a_handler_leads_to_the_state_that_it_names_or_nowhere() -> None:
    with running(Door()) as door:
        door.tell("push")
        door.tell("push", "opened")
        wait_until(lambda: len(trace_of(door)) == 3)
        assert trace_of(door) == [
            "[door] e->start_at() top->house",
            "[door] e->push() house->opened",
            "[door] e->draught() opened->closed",
        ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_leads_where_it_did_not_declare_ends_the_chart_and_is_told(caplog) -> None:
    diary = Diary()
    with running(Door(observer=diary)) as door:
        door.tell("push", "house")
        wait_until(lambda: diary.deaths == ["door"])
        wait_until(lambda: not door.thread.is_alive())
    assert "chart door is dead" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_that_has_died_lets_go_of_what_is_held() -> None:
    class Holding(Door):
        def __init__(self, **common) -> None:
            self.released: list[object] = []
            super().__init__(**common)

        def push(self, event: Event) -> str | None:
            self.tell("locked", "a file")
            return "house"

        push = on("house", "push", to=())(push)

        def left_unhandled(self, event: Event) -> bool:
            self.released.append(event.payload)
            return True

    with running(Holding(observer=Diary())) as door:
        door.tell("push", "house")
        wait_until(lambda: not door.thread.is_alive())
        assert door.released == ["a file"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_signal_that_a_chart_does_not_declare_is_not_published() -> None:
    diary = Diary()
    with ears("DOOR_MOVED", "ELSE") as heard, running(Door(observer=diary)) as door:
        door.tell("publish", "DOOR_MOVED")
        heard.wait_for("DOOR_MOVED")
        door.tell("publish", "ELSE")
        wait_until(lambda: diary.deaths)
    assert not heard.of("ELSE")


def test_the_thread_of_a_chart_is_named_after_its_node_and_ends_with_stop() -> None:
    door = Door(origin="token")
    assert door.thread
    assert door.thread.name == "mesh-token-discovery-door"
    door.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("mesh-token")]
    door.stop()


def test_stopping_forgets_what_waits() -> None:
    door = Door()
    door.tell("push", "opened")
    wait_until(lambda: door.state_name == "opened")
    door.stop()
    lines = trace_of(door)
    assert not door.tell("push", "closed")
    assert trace_of(door) == lines


def test_a_chart_without_a_declared_state_cannot_be_made() -> None:
    class Lost(DiscoveryChart):
        NEST = (("here", None),)

        @on("there", "push")
        def push(self, _: Event) -> None: ...

    with pytest.raises(ValueError, match="Lost cannot start: push names the state 'there'; NEST"):
        Lost("lost").begin()


def test_a_chart_whose_handler_may_lead_nowhere_cannot_be_made() -> None:
    class Lost(DiscoveryChart):
        NEST = (("here", None), ("inner", "outer"))
        HEARS = ("CALLED",)

        @on("here", "push", to=("inner", "nowhere"))
        def push(self, _: Event) -> str:
            return "nowhere"

    with pytest.raises(ValueError, match="Lost cannot start") as caught:
        Lost("lost").begin()
    assert "push names the state 'nowhere'; NEST has 'here', 'inner'" in str(caught.value)
    assert "NEST puts 'inner' into 'outer', which it does not name before" in str(caught.value)
    assert "HEARS names 'CALLED', which no handler answers" in str(caught.value)


def test_the_lines_of_a_live_spy_carry_the_name_of_the_chart(capsys) -> None:
    out: list[str] = []

    def printed(line: str) -> bool:
        out.extend(capsys.readouterr().out.splitlines())
        return line in out

    with running(Door(live_spy=True)) as door:
        door.tell("push", "opened")
        wait_until(lambda: printed("[door] draught:opened"))
    assert "[door] START" in out
    assert all(line.startswith("[door] ") for line in out)
