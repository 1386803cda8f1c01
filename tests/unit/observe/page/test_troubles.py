"""Which chart waits for what, in words."""

from __future__ import annotations

import time
from typing import Any

from miros_mesh.health import Outage
from miros_mesh.observe.page.flows import Flows
from miros_mesh.observe.page.picture import picture
from miros_mesh.observe.page.troubles import STUCK_S, Own, Trouble, troubles, waits
from miros_mesh.observe.snoop.views import ChartView, NodeView, RequestView, WorkView


def chart(name: str, **changes: Any) -> ChartView:
    facts = {"state": "idle", "events_per_s": 1.0, "last_signal": "go", "handled": 1, "dead": False}
    return ChartView(name, **{**facts, **changes})


def work(name: str, **changes: Any) -> WorkView:
    facts = {"waiting": 0, "event": "", "same_for_s": 0.0, "asks": (), "deaf": "", "group": ""}
    return WorkView(name, **{**facts, **changes})


def node(name: str, *given: ChartView | WorkView, **changes: Any) -> NodeView:
    facts: dict[str, Any] = {"silent_s": 0.1, "consuming": True, "outbox_events": 0, "peers": {}}
    charts = [each for each in given if isinstance(each, ChartView)]
    works = [each for each in given if isinstance(each, WorkView)]
    return NodeView(name, **{**facts, "charts": charts, "work": works, **changes})


def said(*nodes: NodeView) -> list[Trouble]:
    return troubles(Own(), nodes, waits(nodes))


def test_a_mesh_that_works_has_none() -> None:
    busy = work("till", event="1nc/desk/1", same_for_s=STUCK_S - 0.1)
    asks = work("desk", asks=(RequestView("1nc/desk/1", "charge", 0.5),))
    assert said(node("bank", chart("till"), busy), node("front", chart("desk"), asks)) == []


def test_a_stuck_chart_is_named_with_what_it_handles_and_who_waits() -> None:
    stuck = work("till", event="1nc/desk/1", same_for_s=37.4, waiting=2)
    asks = work("desk", asks=(RequestView("1nc/desk/1", "charge", 38.0),))
    bank, front = node("bank", chart("till", last_signal="charge"), stuck), node("front", asks)
    first, second = said(bank, front)
    assert first == Trouble(
        *("stuck", "bank", "till"),
        "till is stuck: it has been handling charge()",
        37.5,
        "2 events wait behind it; desk waits for its answer",
    )
    assert second == Trouble(
        *("waits", "front", "desk"),
        "desk waits for the answer to charge()",
        38.1,
        "till of bank is handling it",
    )


def test_a_request_that_no_chart_has_in_hand_is_late_too() -> None:
    (late,) = said(node("front", work("desk", asks=(RequestView("1nc/desk/1", "charge", 5.0),))))
    assert late.more == "no chart that tells of itself is handling it"


def test_how_long_it_lasts_is_until_now_and_not_until_its_node_told() -> None:
    asks = work("desk", asks=(RequestView("1nc/desk/1", "charge", 10.0),))
    stuck = work("till", event="1nc/desk/1", same_for_s=9.0)
    first, second = said(node("front", asks, silent_s=0.25), node("bank", stuck, silent_s=1.25))
    assert (first.kind, second.kind) == ("stuck", "waits")
    assert first.lasts_s == second.lasts_s == 10.25


def test_one_event_waits_and_two_charts_wait() -> None:
    stuck = work("till", event="1nc/desk/1", same_for_s=9.0, waiting=1)
    asks = [work(each, asks=(RequestView("1nc/desk/1", "charge", 9.0),)) for each in ("ada", "ben")]
    first, *_ = said(node("bank", stuck), node("front", *asks))
    assert first.more == "1 event waits behind it; ada, ben wait for its answer"


def test_a_dead_chart_is_dead_and_not_stuck() -> None:
    gone = work("till", event="1nc/desk/1", same_for_s=37.0)
    (dead,) = said(node("bank", chart("till", dead=True, last_signal="charge"), gone))
    assert (dead.kind, dead.text) == ("dead", "till is dead: a handler raised at charge")


def test_of_a_silent_node_nothing_else_is_said() -> None:
    (silent,) = said(node("bank", chart("till", dead=True), silent_s=12.0, consuming=False))
    assert silent.kind == "silent"
    assert (silent.text, silent.lasts_s) == ("bank is silent", 12.0)


def test_brokers_and_deaf_charts_are_named() -> None:
    peers = {"amqp://a//": "down", "amqp://b//": "blocked", "amqp://c//": "up"}
    found = said(node("bank", work("till", deaf="another has it"), consuming=False, peers=peers))
    assert [each.kind for each in found] == ["deaf", "deaf", "down", "blocked"]
    assert "till hears nothing: another has it" in [each.text for each in found]
    assert not [each for each in found if "amqp://c//" in each.text]


def test_a_page_that_is_cut_off_says_so_first() -> None:
    own = Own(("amqp://page@a:5672//", Outage("refused", time.time() - 60)), unread=27, window_s=60)
    bank = node("bank", chart("till", dead=True))
    found = troubles(own, [bank], waits([bank]))
    assert [each.kind for each in found] == ["cut off", "dead", "key"]
    assert found[0].text == "this page cannot reach amqp://page@a:5672// (refused)"
    assert round(found[0].lasts_s or 0) == 60
    assert found[0].more == "what is below is of then"
    assert found[2].more == "27 in the last 60 s"


def test_the_broker_that_a_page_cannot_reach_is_marked_whoever_its_user_is() -> None:
    own = Own(("amqp://page@a:5672//", Outage("refused", time.time())))
    peers = {"amqp://bank@a:5672//": "up", "amqp://bank@b:5672//": "up"}
    mesh = picture(own, [node("bank", peers=peers)], {}, {}, Flows())
    assert [(each["broker"], each["away"]) for each in mesh["brokers"]] == [
        ("amqp://bank@a:5672//", True),
        ("amqp://bank@b:5672//", False),
    ]
    # One that no node names is there as well.
    (alone,) = picture(own, [], {}, {}, Flows())["brokers"]
    assert (alone["broker"], alone["away"]) == ("amqp://page@a:5672//", True)
