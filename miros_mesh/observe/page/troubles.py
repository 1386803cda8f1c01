"""What is wrong on the mesh, in sentences that say which chart waits for what."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from miros_mesh.health import Outage
from miros_mesh.observe.snoop.views import NodeView, WorkView

# A handler that takes longer keeps all that follows waiting.
STUCK_S: Final = 3.0
LATE_S: Final = 3.0

Kind = Literal["cut off", "key", "silent", "deaf", "down", "blocked", "dead", "stuck", "waits"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong; without a chart it is the node's, without a node the page's."""

    kind: Kind
    node: str
    chart: str
    text: str
    lasts_s: float | None = None
    """For how long it has been so, until now; None where that is not known."""
    more: str = ""
    """What else is to be said, after how long it lasts."""


@dataclass(frozen=True, slots=True)
class Own:
    """How the page itself hears the mesh."""

    outage: tuple[str, Outage] | None = None
    """The broker that it cannot hear, with why and since when."""
    unread: int = 0
    """How many frames of another key came in the last `window_s`; 0 when they come no more."""
    window_s: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """A chart that waits for an answer, and the chart that is handling its request, if one is."""

    asks: tuple[str, str]
    signal: str
    waited_s: float
    """Until now: what its node said, and how long ago that was."""
    of: tuple[str, str] | None


def waits(nodes: Sequence[NodeView]) -> list[Wait]:
    """Say which charts wait for an answer, and who has the request in hand."""
    # The id of a received event is that which its sender gave it.
    hands = {w.event: (n.name, w.chart) for n in nodes for w in n.work if w.event}
    return [
        Wait(
            (node.name, work.chart),
            ask.signal,
            ask.waited_s + node.silent_s,
            hands.get(ask.event),
        )
        for node in nodes
        for work in node.work
        for ask in work.asks
    ]


def troubles(own: Own, nodes: Sequence[NodeView], waiting: Sequence[Wait]) -> list[Trouble]:
    """Say all that is wrong, what keeps others from their work first."""
    asked: dict[tuple[str, str], list[Wait]] = {}
    for wait in waiting:
        if wait.of:
            asked.setdefault(wait.of, []).append(wait)
    found = [*_of_page(own), *(each for node in nodes for each in _of_node(node, asked))]
    found += [_late(wait) for wait in waiting if wait.waited_s >= LATE_S]
    # Sorted by kind, and within one by the order of the nodes.
    return sorted(found, key=lambda each: _ORDER.index(each.kind))


_ORDER: Final[tuple[Kind, ...]] = (
    *("cut off", "dead", "stuck", "waits", "deaf", "silent", "down", "blocked", "key"),
)


def _of_page(own: Own) -> Iterator[Trouble]:
    if own.outage:
        broker, outage = own.outage
        words = f"this page cannot reach {broker} ({outage.reason})"
        lasts_s = max(time.time() - outage.since, 0.0)
        yield Trouble("cut off", "", "", words, lasts_s, "what is below is of then")
    if own.unread:
        words = "frames of a key that this page does not have come: a node is not shown"
        more = f"{own.unread:,} in the last {own.window_s} s"
        yield Trouble("key", "", "", words, more=more)


def _of_node(node: NodeView, asked: Mapping[tuple[str, str], Sequence[Wait]]) -> Iterator[Trouble]:
    name = node.name
    if node.silent:
        # What it said last may be true no more.
        more = "it has ended, hangs, or is cut off"
        return iter((Trouble("silent", name, "", f"{name} is silent", node.silent_s, more),))
    return chain(_of_brokers(node), _of_charts(node, asked))


def _of_brokers(node: NodeView) -> Iterator[Trouble]:
    name = node.name
    if not node.consuming:
        yield Trouble("deaf", name, "", f"{name} does not receive from its home broker")
    for peer, state in node.peers.items():
        if state == "down":
            words = f"{name} cannot reach {peer}: events for it wait in the outbox"
            yield Trouble("down", name, "", words)
        elif state == "blocked":
            words = f"{peer} is blocked (memory or disk): events of {name} wait for it"
            yield Trouble("blocked", name, "", words)


def _of_charts(
    node: NodeView, asked: Mapping[tuple[str, str], Sequence[Wait]]
) -> Iterator[Trouble]:
    name, signals = node.name, {chart.name: chart.last_signal for chart in node.charts}
    dead = {chart.name for chart in node.charts if chart.dead}
    for chart in sorted(dead):
        words = f"{chart} is dead: a handler raised at {signals[chart] or 'its start'}"
        yield Trouble("dead", name, chart, words)
    for work in node.work:
        if work.deaf:
            yield Trouble("deaf", name, work.chart, f"{work.chart} hears nothing: {work.deaf}")
        if work.event and work.same_for_s >= STUCK_S and work.chart not in dead:
            held = asked.get((name, work.chart), ())
            yield _stuck(node, work, signals.get(work.chart, ""), held)


def _stuck(node: NodeView, work: WorkView, signal: str, held: Sequence[Wait]) -> Trouble:
    what = f"{signal}()" if signal else "one event"
    more = [f"{_events_wait(work.waiting)} behind it"] if work.waiting else []
    if asking := sorted({each.asks[1] for each in held}):
        more.append(f"{', '.join(asking)} {_waits(len(asking))} for its answer")
    return Trouble(
        *("stuck", node.name, work.chart),
        f"{work.chart} is stuck: it has been handling {what}",
        work.same_for_s + node.silent_s,
        "; ".join(more),
    )


def _late(wait: Wait) -> Trouble:
    node, chart = wait.asks
    words = f"{chart} waits for the answer to {wait.signal}()"
    who = f"{wait.of[1]} of {wait.of[0]}" if wait.of else "no chart that tells of itself"
    return Trouble("waits", node, chart, words, wait.waited_s, f"{who} is handling it")


def _events_wait(number: int) -> str:
    return f"{number:,} {'event' if number == 1 else 'events'} {_waits(number)}"


def _waits(number: int) -> str:
    return "waits" if number == 1 else "wait"
