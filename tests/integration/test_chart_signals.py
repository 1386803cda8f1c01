"""What a chart that asked is told of the charts of other nodes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from miros import Event

from miros_mesh import CHART_DOWN, CHART_UP, ChartChange, MeshConfig, NetworkedActiveObject
from miros_mesh.networks.roll import Roll
from support.actor import Actor
from support.charts_at_work import KEY, Ground, Heard, Launch, alone, event
from support.waiting import wait_until

ROLE = Path(__file__).with_name("named_chart.py")
HEARTBEAT_S = 2.0
# Silence is told after two and a half heartbeats and a second; the machine may be slow.
LIMIT_S = 30.0
QUICK = {"heartbeat_interval_s": HEARTBEAT_S}
ASKING = {**QUICK, "tell_charts": True}


class Told(list[tuple[str, ChartChange]]):
    """The signals of charts that a chart handled."""

    def __call__(self, _: object, e: Event) -> None:
        if e.signal_name in {CHART_UP, CHART_DOWN}:
            self.append((e.signal_name, e.payload))


def up(node: str, chart: str) -> tuple[str, ChartChange]:
    return CHART_UP, ChartChange(node, chart, "alive")


def down(node: str, chart: str, reason: str) -> tuple[str, ChartChange]:
    return CHART_DOWN, ChartChange(node, chart, reason)


def dies(_: NetworkedActiveObject, e: Event) -> None:
    if e.signal_name == "die":
        raise ValueError("the event said so")


def test_a_chart_is_told_of_one_that_comes_and_stops(ground: Ground, launch: Launch) -> None:
    # Given one that asked
    told = Told()
    launch("watch", ground.node("here", **ASKING), told)
    # When one of another node comes, and stops
    other = launch("worker", ground.node("there", **QUICK))
    wait_until(lambda: told == [up("there", "worker")], LIMIT_S)
    other.stop()
    # Then it is told both, and that the process goes as well tells nothing more
    wait_until(lambda: told[1:] == [down("there", "worker", "stopped")], LIMIT_S)
    again = launch("worker", ground.node("there", **QUICK))
    wait_until(lambda: told[2:] == [up("there", "worker")], LIMIT_S)
    again.stop()
    wait_until(lambda: told[3:] == [down("there", "worker", "stopped")], LIMIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_is_told_of_one_that_a_handler_ended(ground: Ground, launch: Launch) -> None:
    # Given two charts on a node, of which one dies of an event
    told = Told()
    launch("watch", ground.node("here", **ASKING), told)
    there = ground.node("there", **QUICK)
    mortal = launch("mortal", there, dies)
    launch("other", there)
    wait_until(lambda: len(told) == 2, LIMIT_S)
    # When it has
    mortal.post_fifo(event("die"))
    # Then that is told, once, though its node goes on and it is stopped in the end
    wait_until(lambda: told[2:] == [down("there", "mortal", "died")], LIMIT_S)
    mortal.stop()
    launch("last", there)
    wait_until(lambda: told[3:] == [up("there", "last")], LIMIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_that_dies_before_its_start_is_over_is_not_told_to_be_alive(
    ground: Ground,
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    # Given a chart that dies of its first event, before its node has said that it is there
    joined = Roll.joined

    def joined_late(roll: Roll, chart: str, topic: str, group: str) -> None:
        if chart == "mortal":
            assert mortal.thread
            mortal.thread.join(LIMIT_S)
        joined(roll, chart, topic, group)

    monkeypatch.setattr(Roll, "joined", joined_late)
    there = ground.node("there", **QUICK)
    mortal = NetworkedActiveObject("mortal", config=there)
    request.addfinalizer(mortal.stop)
    mortal.post_fifo(event("die"))
    mortal.start_at(alone(dies))
    launch("other", there)
    # When another node asks who is there, then it hears of the other one alone
    told = Told()
    launch("watch", ground.node("here", **ASKING), told)
    wait_until(lambda: up("there", "other") in told, LIMIT_S)
    assert told == [up("there", "other")]


def test_a_chart_that_starts_is_told_of_those_that_were_there_before(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart that a whole node is younger than, and another one of the same node
    launch("worker", ground.node("there", **QUICK))
    first, second = Told(), Told()
    here = ground.node("here", **ASKING)
    launch("first", here, first)
    wait_until(lambda: first == [up("there", "worker")], LIMIT_S)
    launch("second", here, second)
    wait_until(lambda: second == [up("there", "worker")], LIMIT_S)
    # And of those of its own node it is told nothing
    assert first == [up("there", "worker")]


def test_one_name_on_two_nodes_is_two_charts(ground: Ground, launch: Launch) -> None:
    told = Told()
    launch("watch", ground.node("here", **ASKING), told)
    launch("worker", ground.node("one", **QUICK))
    two = launch("worker", ground.node("two", **QUICK))
    wait_until(lambda: sorted(told, key=str) == [up("one", "worker"), up("two", "worker")], LIMIT_S)
    two.stop()
    wait_until(lambda: told[2:] == [down("two", "worker", "stopped")], LIMIT_S)


def test_a_chart_is_told_only_of_those_that_it_hears(ground: Ground, launch: Launch) -> None:
    north, south = Told(), Told()
    here = ground.node("here", **ASKING)
    for told, name in ((north, "north"), (south, "south")):
        launch(f"of {name}", here, told, tx_routing_key="watch", rx_routing_key=f"plant.{name}.*")
    there = ground.node("there", **QUICK)
    launch("pump", there, tx_routing_key="plant.north.pump")
    launch("valve", there, tx_routing_key="plant.south.valve")
    wait_until(lambda: north and south, LIMIT_S)
    assert (north, south) == ([up("there", "pump")], [up("there", "valve")])


def test_a_chart_that_did_not_ask_is_told_nothing(ground: Ground, launch: Launch) -> None:
    asked, not_asked, handled = Told(), Told(), Heard()

    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        not_asked(chart, e)
        handled(chart, e)

    launch("asks", ground.node("here", **ASKING), asked)
    silent = launch("does not", ground.node("elsewhere", **QUICK), handle)
    launch("worker", ground.node("there", **QUICK)).stop()
    wait_until(lambda: down("there", "worker", "stopped") in asked, LIMIT_S)
    # What it was told before, it has handled when it handles this
    silent.post_fifo(event("now"))
    wait_until(lambda: handled == [("now", None)])
    assert not_asked == []
    running = {thread.name for thread in threading.enumerate()}
    assert "mesh-here-roster" in running
    assert "mesh-elsewhere-roster" not in running


@pytest.fixture(params=["embedded", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    """Where processes meet: a RabbitMQ, or else this machine's embedded broker."""
    if request.param == "embedded":
        return ""
    made: str = request.getfixturevalue("vhost_url")
    return made


@pytest.fixture
def asked(url: str, launch: Launch) -> Told:
    """What a chart is told that asked."""
    told = Told()
    launch("watch", MeshConfig(broker_url=url or None, mesh_encryption_key=KEY, **ASKING), told)
    return told


def worker(url: str, heartbeat_s: float = HEARTBEAT_S) -> Actor:
    """A process with the chart `worker` on the node `there`."""
    return Actor(ROLE, "there", "worker", url, heartbeat_s)


def test_a_killed_process_is_told_as_silent_and_as_there_when_it_is_back(
    url: str, asked: Told
) -> None:
    with worker(url) as process:
        assert process.heard() == {"reason": None}
        wait_until(lambda: asked == [up("there", "worker")], LIMIT_S)
        process.kill()
    wait_until(lambda: asked[1:] == [down("there", "worker", "silent")], LIMIT_S)
    with worker(url) as process:
        assert process.heard() == {"reason": None}
        wait_until(lambda: asked[2:] == [up("there", "worker")], LIMIT_S)


def test_a_process_that_stands_still_is_silent_and_there_again_when_it_goes_on(
    url: str, asked: Told
) -> None:
    with worker(url) as process:
        assert process.heard() == {"reason": None}
        wait_until(lambda: asked == [up("there", "worker")], LIMIT_S)
        process.signal(signal.SIGSTOP)
        wait_until(lambda: asked[1:] == [down("there", "worker", "silent")], LIMIT_S)
        process.signal(signal.SIGCONT)
        wait_until(lambda: asked[2:] == [up("there", "worker")], LIMIT_S)


def test_a_process_that_takes_the_place_of_a_killed_one_is_told_as_another(
    url: str, asked: Told
) -> None:
    # Given heartbeats so long that no silence is noticed meanwhile
    with worker(url, 600) as process:
        assert process.heard() == {"reason": None}
        wait_until(lambda: asked == [up("there", "worker")], LIMIT_S)
        process.kill()
    # When its place is taken
    with worker(url, 600) as process:
        assert process.heard() == {"reason": None}
        wait_until(lambda: len(asked) == 3, LIMIT_S)
    # Then what the first one knew is gone, and that is told
    assert asked[1:] == [down("there", "worker", "silent"), up("there", "worker")]
