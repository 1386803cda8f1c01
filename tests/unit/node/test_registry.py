"""Charts with equal settings share a node: started once, stopped with its last chart."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import BrokerUnreachableError, ChartNameTakenError, StoppedError
from miros_mesh.node.registry import Ending, Registry
from miros_mesh.report import StopReport
from support.waiting import wait_until

HERE, THERE = MeshConfig(node_name="here"), MeshConfig(node_name="there")
NO_ENDING = Ending(lambda: None, lambda: None)


class Machine:
    """A node without a network: it counts what the registry asks of it."""

    def __init__(self, config: MeshConfig) -> None:
        self.config = config
        self.left: list[str] = []
        self.broken_off: list[str] = []
        self.starts = self.stops = 0
        self.abandoned = False

    def start(self) -> None:
        self.starts += 1

    def break_off(self, chart: str) -> None:
        self.broken_off.append(chart)

    def leave(self, chart: str, end_by: float) -> None:
        self.left.append(chart)

    def report(self) -> StopReport:
        return StopReport(sent=1, left_over=1)

    def stop(self) -> StopReport:
        self.stops += 1
        return StopReport(sent=1, confirmed=1)

    def abandon(self) -> None:
        self.abandoned = True


@pytest.fixture
def registry() -> Iterator[Registry[Machine]]:
    made = Registry(Machine)
    yield made
    made.stop_all()


def test_charts_of_equal_settings_share_a_node_and_others_do_not(
    registry: Registry[Machine],
) -> None:
    one = registry.enter(HERE, "one", NO_ENDING)

    assert registry.enter(HERE, "two", NO_ENDING) is one
    assert registry.enter(THERE, "one", NO_ENDING) is not one
    assert len(registry.live) == 2


def test_it_tells_while_a_chart_is_on_its_way_in(registry: Registry[Machine]) -> None:
    assert not registry.joining
    with registry.entrance():
        with suppress(ZeroDivisionError), registry.entrance():
            raise ZeroDivisionError
        assert registry.joining
    assert not registry.joining


def test_a_name_is_taken_until_its_chart_has_left(registry: Registry[Machine]) -> None:
    node = registry.enter(HERE, "one", NO_ENDING)
    registry.enter(HERE, "two", NO_ENDING)

    with pytest.raises(ChartNameTakenError, match="already named 'one'"):
        registry.enter(HERE, "one", NO_ENDING)
    registry.leave(node, "one")

    assert registry.enter(HERE, "one", NO_ENDING) is node


def test_a_node_stops_with_its_last_chart_and_says_what_became_of_the_events(
    registry: Registry[Machine],
) -> None:
    node = registry.enter(HERE, "one", NO_ENDING)
    registry.enter(HERE, "two", NO_ENDING)

    assert registry.leave(node, "one") == node.report()
    assert not node.stops
    assert registry.leave(node, "two").all_confirmed
    assert (node.stops, node.left, registry.live) == (1, ["one", "two"], ())

    assert registry.enter(HERE, "one", NO_ENDING) is not node


def test_a_stop_that_was_interrupted_is_resumed_by_the_next_call() -> None:
    class Interrupted(Machine):
        def stop(self) -> StopReport:
            self.stops += 1
            if self.stops == 1:
                raise KeyboardInterrupt
            return StopReport()

    registry = Registry(Interrupted)
    node = registry.enter(HERE, "one", NO_ENDING)

    with pytest.raises(KeyboardInterrupt):
        registry.leave(node, "one")
    registry.leave(node, "one")

    assert node.stops == 2
    registry.leave(node, "one")
    assert node.stops == 2


class Slow(Machine):
    """A node that starts when it is let go, or fails."""

    made: ClassVar[list[Slow]] = []
    go_on: ClassVar[threading.Event]
    failures: ClassVar[int]

    def __init__(self, config: MeshConfig) -> None:
        super().__init__(config)
        self.made.append(self)

    def start(self) -> None:
        super().start()
        assert self.go_on.wait(5)
        if len(self.made) <= self.failures:
            raise BrokerUnreachableError("down")


@pytest.fixture
def slow() -> Iterator[Registry[Slow]]:
    Slow.made, Slow.go_on, Slow.failures = [], threading.Event(), 0
    made = Registry(Slow)
    yield made
    Slow.go_on.set()
    made.stop_all()


def entering(registry: Registry[Slow], *charts: str) -> list[Future[Slow]]:
    """Let charts enter, a thread each; returns when all their names are taken."""
    pool = ThreadPoolExecutor(len(charts))
    entered = [pool.submit(registry.enter, HERE, chart, NO_ENDING) for chart in charts]
    wait_until(lambda: len(registry._places[HERE].endings) == len(charts))
    pool.shutdown(wait=False)
    return entered


def test_after_a_failure_a_chart_that_waited_tries_by_itself(slow: Registry[Slow]) -> None:
    Slow.failures = 1
    entered = entering(slow, "one", "two")
    Slow.go_on.set()

    outcomes = [each.exception(5) for each in entered]

    assert {type(each) for each in outcomes} == {BrokerUnreachableError, type(None)}
    _failed, runs = Slow.made
    assert slow.live == (runs,)
    # The name of the chart that failed is free again.
    free = "one" if outcomes[0] else "two"
    assert slow.enter(HERE, free, NO_ENDING) is runs


def test_charts_that_come_at_once_share_one_node_that_starts_once(slow: Registry[Slow]) -> None:
    entered = entering(slow, *(f"chart {number}" for number in range(20)))
    Slow.go_on.set()

    assert {each.result(5) for each in entered} == set(Slow.made) == set(slow.live)
    assert Slow.made[0].starts == 1


def test_a_node_that_starts_can_be_seen_and_one_that_failed_cannot(slow: Registry[Slow]) -> None:
    Slow.failures = 1
    (entered,) = entering(slow, "one")
    wait_until(lambda: slow.live)
    assert slow.live == tuple(Slow.made)

    Slow.go_on.set()

    assert isinstance(entered.exception(5), BrokerUnreachableError)
    assert slow.live == ()


def test_a_forked_child_abandons_what_its_parent_runs_and_begins_anew(
    registry: Registry[Machine],
) -> None:
    node = registry.enter(HERE, "one", NO_ENDING)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, f"{node.abandoned} {len(registry.live)}".encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 100) == b"True 0"
    assert (node.abandoned, registry.live) == (False, (node,))
    os.close(reading)
    os.close(writing)


def test_at_exit_every_chart_begins_to_stop_before_the_first_one_is_waited_for(
    registry: Registry[Machine],
) -> None:
    calls: list[str] = []
    for name in ("one", "two"):
        registry.enter(
            HERE,
            name,
            Ending(
                lambda name=name: calls.append(f"begin {name}"),  # type: ignore[misc]
                lambda name=name: calls.append(f"stop {name}"),  # type: ignore[misc]
            ),
        )
    (node,) = registry.live

    registry.stop_all()

    assert calls == ["begin one", "begin two", "stop one", "stop two"]
    assert (node.stops, registry.live) == (1, ())


def test_a_chart_that_cannot_be_stopped_at_exit_keeps_no_other_from_it(
    registry: Registry[Machine], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def fail() -> None:
        raise RuntimeError("broken")

    registry.enter(HERE, "broken", Ending(lambda: None, fail))
    registry.enter(HERE, "well", Ending(lambda: None, lambda: calls.append("stopped")))

    registry.stop_all()

    assert calls == ["stopped"]
    assert "could not be stopped at exit" in caplog.text


class Breakable(Slow):
    """A node whose start ends when it is stopped."""

    def start(self) -> None:
        super().start()
        if self.stops:
            raise BrokerUnreachableError("stopped")

    def stop(self) -> StopReport:
        self.go_on.set()
        return super().stop()


@pytest.fixture
def breakable() -> Iterator[Registry[Breakable]]:
    Slow.made, Slow.go_on, Slow.failures = [], threading.Event(), 0
    made = Registry(Breakable)
    yield made
    made.stop_all()


def test_the_start_of_a_node_is_broken_off_by_the_chart_that_starts_it_and_by_no_other(
    breakable: Registry[Breakable],
) -> None:
    one, two = Ending(lambda: None, lambda: None), Ending(lambda: None, lambda: None)
    with ThreadPoolExecutor() as pool:
        entered = pool.submit(breakable.enter, HERE, "one", one)
        wait_until(lambda: breakable.live)
        breakable.break_off(HERE, "one", two)
        breakable.break_off(THERE, "one", one)
        assert not entered.done()
        breakable.break_off(HERE, "one", one)
        assert isinstance(entered.exception(5), BrokerUnreachableError)
    assert breakable.live == ()


def test_a_chart_that_was_stopped_before_its_turn_starts_no_node(
    registry: Registry[Machine],
) -> None:
    with pytest.raises(StoppedError):
        registry.enter(HERE, "one", Ending(lambda: None, lambda: None, lambda: True))

    assert registry.live == ()


def test_a_node_that_was_stopped_while_it_started_and_did_not_notice_is_given_to_no_chart() -> None:
    made = list[Machine]()

    class Unaware(Machine):
        def __init__(self, config: MeshConfig) -> None:
            super().__init__(config)
            made.append(self)

        def start(self) -> None:
            super().start()
            if len(made) == 1:
                waiting.append(pool.submit(registry.enter, HERE, "two", NO_ENDING))
                wait_until(lambda: len(registry._places[HERE].endings) == 2)
                asked.set()
                registry.break_off(HERE, "one", ending)

    registry, asked = Registry[Machine](Unaware), threading.Event()
    waiting = list[Future[Machine]]()
    ending = Ending(lambda: None, lambda: None, asked.is_set)
    with ThreadPoolExecutor() as pool:
        with pytest.raises(StoppedError):
            registry.enter(HERE, "one", ending)
        # The chart that waited for it starts another one
        assert waiting[0].result(5) is made[1]
    assert made[0].stops >= 1
    assert (made[1].starts, made[1].stops) == (1, 0)
    assert registry.live == (made[1],)


def test_a_chart_that_joins_a_node_at_work_is_broken_off_alone(
    registry: Registry[Machine],
) -> None:
    ending = Ending(lambda: None, lambda: None)
    node = registry.enter(HERE, "one", ending)
    registry.break_off(HERE, "one", ending)

    assert (node.broken_off, node.stops) == (["one"], 0)


def test_at_exit_a_node_that_still_starts_is_stopped_and_not_waited_for(
    breakable: Registry[Breakable],
) -> None:
    with ThreadPoolExecutor() as pool:
        entered = pool.submit(breakable.enter, HERE, "one", NO_ENDING)
        wait_until(lambda: breakable.live)
        breakable.stop_all()
        assert isinstance(entered.exception(5), BrokerUnreachableError)
