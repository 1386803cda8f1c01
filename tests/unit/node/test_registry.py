"""Charts with equal settings share a node: started once, stopped with its last chart."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import BrokerUnreachableError, ChartNameTakenError
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
        self.stops = 0
        self.abandoned = False

    def leave(self, chart: str) -> None:
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


def test_after_a_failure_a_chart_that_waited_tries_by_itself() -> None:
    starting, go_on = threading.Event(), threading.Event()
    attempts: list[MeshConfig] = []

    def start(config: MeshConfig) -> Machine:
        attempts.append(config)
        if len(attempts) == 1:
            starting.set()
            go_on.wait(5)
            raise BrokerUnreachableError("down")
        return Machine(config)

    registry = Registry(start)
    failures: list[Exception] = []

    def first() -> None:
        try:
            registry.enter(HERE, "first", NO_ENDING)
        except BrokerUnreachableError as error:
            failures.append(error)

    entered: list[Machine] = []
    others = [
        threading.Thread(target=first, daemon=True),
        threading.Thread(
            target=lambda: entered.append(registry.enter(HERE, "second", NO_ENDING)), daemon=True
        ),
    ]
    others[0].start()
    assert starting.wait(5)
    others[1].start()
    go_on.set()
    for each in others:
        each.join(5)

    assert len(failures) == 1
    assert registry.live == tuple(entered)
    # The name of the chart that failed is free again.
    assert registry.enter(HERE, "first", NO_ENDING) is entered[0]


def test_charts_that_come_at_once_start_one_node() -> None:
    attempts: list[MeshConfig] = []

    def start(config: MeshConfig) -> Machine:
        attempts.append(config)
        return Machine(config)

    registry = Registry(start)
    threads = [
        threading.Thread(target=registry.enter, args=(HERE, f"chart {n}", NO_ENDING), daemon=True)
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads))

    assert len(attempts) == len(registry.live) == 1


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
