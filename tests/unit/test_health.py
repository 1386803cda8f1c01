"""How a node is: what follows from its facts, and how the hooks change them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from miros_mesh.health import (
    NO_NODE,
    Health,
    Outage,
    PeerState,
    Vitals,
    why_dead,
    why_unready,
)
from miros_mesh.observer import STOPPED
from support.waiting import wait_until

HOME = "amqp://home"
OTHER = "amqp://other"
# For a thread that does not wait for another one, but would get in between.
A_MOMENT_S = 0.2


def health(
    *, consuming: bool = True, home: PeerState | None = "up", dead: tuple[str, ...] = ()
) -> Health:
    peers: dict[str, PeerState] = {} if home is None else {HOME: home}
    return Health("node", consuming, {**peers, OTHER: "up"}, dead, 0, HOME)


@pytest.fixture
def vitals() -> Vitals:
    """Those of a node that consumes from its home broker, and can send to it."""
    made = Vitals(HOME)
    made.subscribed(broker=HOME)
    made.peer_up(peer=HOME)
    return made


# A value


@pytest.mark.parametrize(
    ("home", "connected"), [("up", True), ("blocked", True), ("down", False), (None, False)]
)
def test_it_is_connected_while_its_home_broker_takes_a_connection(
    home: PeerState | None, connected: bool
) -> None:
    assert health(home=home).connected is connected


def test_a_node_that_consumes_and_is_connected_is_ready() -> None:
    assert health().ready
    assert health().unready == ()


@pytest.mark.parametrize(
    ("consuming", "home", "reasons"),
    [
        (False, "up", (f"node node does not consume from {HOME}",)),
        (True, "down", (f"node node has no connection to send to {HOME}",)),
        (
            False,
            "down",
            (
                f"node node does not consume from {HOME}",
                f"node node has no connection to send to {HOME}",
            ),
        ),
    ],
)
def test_a_node_that_is_not_ready_says_why(
    consuming: bool, home: PeerState, reasons: tuple[str, ...]
) -> None:
    node = health(consuming=consuming, home=home)

    assert not node.ready
    assert node.unready == reasons


def test_a_node_that_lost_its_broker_says_why_and_since_when() -> None:
    node = Health("node", False, {HOME: "down"}, (), 0, HOME, {HOME: Outage("credentials", 0.0)})

    assert node.unready == (
        f"node node does not consume from {HOME}: credentials, since 1970-01-01 00:00:00Z",
        f"node node has no connection to send to {HOME}: credentials, since 1970-01-01 00:00:00Z",
    )


def test_a_node_with_deaf_charts_is_not_ready_and_names_each() -> None:
    deaf = {"door": "permission", "bell": "conflict"}
    node = Health("node", False, {HOME: "up"}, (), 0, HOME, {}, deaf, {"repair": "permission"})

    assert not node.ready
    assert node.unready == (
        "chart door of node node hears nothing: permission",
        "chart bell of node node hears nothing: conflict",
        "network repair of node node hears nothing: permission",
    )
    assert node.unfit == ()


def test_a_dead_chart_makes_it_unfit_and_no_broker_does() -> None:
    assert health(consuming=False, home="down").unfit == ()
    assert health(dead=("talker",)).unfit == (
        "chart talker of node node is dead: a handler raised, as the log says",
    )
    assert health(dead=("talker",)).ready


def test_a_thread_that_has_ended_makes_it_unfit() -> None:
    node = replace(health(), dead_threads=("mesh-node-subscriber",))
    assert node.unfit == (
        "thread mesh-node-subscriber has ended: an error of the library, as the log says",
    )


def test_a_process_is_dead_or_unready_for_any_of_its_nodes_and_unready_without_one() -> None:
    dead, unready = health(dead=("talker",)), health(consuming=False)
    assert why_dead([unready, dead]) == [*dead.unfit]
    assert why_unready([dead, unready]) == [*unready.unready]
    assert (why_dead([]), why_unready([])) == ([], [NO_NODE])


# The hooks


def test_a_peer_that_is_unknown_is_down() -> None:
    assert Vitals(HOME).state_of(HOME) == "down"


def test_a_peer_is_what_its_last_hook_said(vitals: Vitals) -> None:
    states = [vitals.state_of(HOME)]
    vitals.blocked(peer=HOME)
    states.append(vitals.state_of(HOME))
    vitals.unblocked(peer=HOME)
    states.append(vitals.state_of(HOME))
    vitals.peer_down(peer=HOME, reason="connection_lost")
    states.append(vitals.state_of(HOME))

    assert states == ["up", "blocked", "up", "down"]


def test_it_is_whole_from_the_moment_on_in_which_it_consumes_and_can_send() -> None:
    made, before = Vitals(HOME), time.monotonic()
    made.peer_up(peer=HOME)
    assert made.whole_since is None

    made.subscribed(broker=HOME)

    assert made.whole_since is not None
    assert before <= made.whole_since <= time.monotonic()


def test_what_happens_to_other_brokers_leaves_that_moment_as_it_is(vitals: Vitals) -> None:
    since = vitals.whole_since

    vitals.peer_up(peer=OTHER)
    vitals.blocked(peer=OTHER)
    vitals.peer_down(peer=OTHER, reason="connection_lost")

    assert vitals.whole_since == since


def test_a_node_is_whole_no_more_without_its_home_broker(vitals: Vitals) -> None:
    vitals.blocked(peer=HOME)
    assert vitals.whole_since is None

    vitals.unblocked(peer=HOME)
    assert vitals.whole_since

    vitals.unsubscribed(broker=HOME, reason="connection_lost")
    assert (vitals.whole_since, vitals.receiving) == (None, False)

    vitals.subscribed(broker=HOME)
    assert (bool(vitals.whole_since), vitals.receiving) == (True, True)

    vitals.peer_down(peer=HOME, reason="connection_lost")
    assert vitals.whole_since is None


def test_a_publisher_that_looks_while_the_subscriber_ends_does_not_call_it_whole() -> None:
    made = Vitals(HOME)
    made.subscribed(broker=HOME)
    end = threading.Thread(
        target=lambda: made.unsubscribed(broker=HOME, reason="connection_lost"), daemon=True
    )

    class Home(str):
        """A name that lets the subscriber end while a publisher looks for it."""

        __slots__ = ()

        def __hash__(self) -> int:
            # After the look at `receiving`, and before `whole_since` is set.
            if end.ident is None and made.state_of(HOME) == "up":
                end.start()
                end.join(A_MOMENT_S)
            return super().__hash__()

    made._home = Home(HOME)
    made.peer_up(peer=HOME)

    wait_until(lambda: end.ident and not end.is_alive())
    assert not made.receiving
    assert made.whole_since is None


def test_a_broker_that_was_lost_shows_what_the_latest_attempt_met(vitals: Vitals) -> None:
    assert vitals.outages == {}
    before = time.time()
    vitals.peer_down(peer=HOME, reason="connection_lost")
    first = vitals.outages[HOME]
    assert first.reason == "connection_lost"
    assert before <= first.since <= time.time()

    vitals.unreached(peer=HOME, reason="credentials")
    assert vitals.outages == {HOME: Outage("credentials", first.since)}

    vitals.peer_up(peer=HOME)
    assert vitals.outages == {}


def test_home_is_back_once_it_is_for_both_directions(vitals: Vitals) -> None:
    vitals.peer_down(peer=HOME, reason="connection_lost")
    vitals.unsubscribed(broker=HOME, reason="connection_lost")

    vitals.peer_up(peer=HOME)
    vitals.unreached(peer=HOME, reason="name_taken")
    assert vitals.outages[HOME].reason == "name_taken"

    vitals.subscribed(broker=HOME)
    assert vitals.outages == {}


def test_a_broker_that_was_never_reached_shows_why(vitals: Vitals) -> None:
    vitals.unreached(peer=OTHER, reason="unreachable")
    assert vitals.outages[OTHER].reason == "unreachable"
    assert vitals.state_of(OTHER) == "down"

    vitals.peer_up(peer=OTHER)
    assert vitals.outages == {}


def test_an_end_that_was_asked_for_is_no_outage(vitals: Vitals) -> None:
    vitals.unreached(peer=OTHER, reason="unreachable")

    vitals.peer_down(peer=OTHER, reason=STOPPED)
    vitals.peer_down(peer=HOME, reason=STOPPED)
    vitals.unsubscribed(broker=HOME, reason=STOPPED)

    assert vitals.outages == {}


def test_brokers_that_come_and_never_answer_take_no_memory_without_end(vitals: Vitals) -> None:
    for number in range(5_000):
        vitals.unreached(peer=f"amqp://{number}", reason="unreachable")
    vitals.peer_down(peer=HOME, reason="connection_lost")

    assert len(vitals.outages) < 2_000
    assert HOME in vitals.outages


def test_a_dead_thread_is_known_with_its_peer(vitals: Vitals) -> None:
    vitals.thread_died(thread="mesh-node-subscriber", peer=HOME, error=ValueError("a bug"))

    assert vitals.dead_threads == {"mesh-node-subscriber": HOME}


def test_charts_are_named_in_the_order_of_their_deaths(vitals: Vitals) -> None:
    for chart in ("second", "first", "third"):
        vitals.chart_died(chart=chart, error=ValueError("a bug"))

    vitals.left("first")
    vitals.left("never there")

    assert vitals.dead_charts == ("second", "third")
