"""The mesh as a browser draws it: nodes, brokers, charts, flows, waits and troubles, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from miros_mesh.observe.page.flows import Flows, Place
from miros_mesh.observe.page.troubles import Own, troubles, waits
from miros_mesh.observe.snoop.views import ChartView, NodeView, WorkView
from miros_mesh.wire.envelope import RollEntry

MAX_CHARTS: Final = 1_000
MAX_FLOWS: Final = 400
MAX_TROUBLES: Final = 100


def picture(
    own: Own,
    nodes: Sequence[NodeView],
    rolls: Mapping[str, Mapping[str, RollEntry]],
    states: Mapping[Place, str],
    flows: Flows,
) -> dict[str, Any]:
    """Put together what statuses, rolls and records say; of too much the first of each.

    `own` is how the page itself hears the mesh, `rolls` has the charts by their node, `states` what
    records said last.
    """
    views = {node.name: node for node in nodes}
    charts = [
        chart
        for name in sorted({*views, *rolls})
        for chart in _charts(name, views.get(name), rolls.get(name, {}), states)
    ]
    waiting = waits(nodes)
    wrong = troubles(own, nodes, waiting)
    return {
        "nodes": [_node(name, views.get(name)) for name in sorted({*views, *rolls})],
        "brokers": _brokers(nodes, own.outage[0] if own.outage else ""),
        "charts": charts[:MAX_CHARTS],
        "more_charts": max(len(charts) - MAX_CHARTS, 0),
        "flows": flows.as_json(MAX_FLOWS),
        "more_flows": max(len(flows) - MAX_FLOWS, 0),
        "waits": [asdict(each) for each in waiting],
        "troubles": [asdict(each) for each in wrong[:MAX_TROUBLES]],
        "more_troubles": max(len(wrong) - MAX_TROUBLES, 0),
    }


def _node(name: str, view: NodeView | None) -> dict[str, Any]:
    if view is None:
        # Of its roll alone: none of its charts takes part in a snoop network.
        return {"node": name, "tells": False, "peers": {}}
    return {
        "node": name,
        "tells": True,
        "silent_s": round(view.silent_s, 1) if view.silent else None,
        "consuming": view.consuming,
        "outbox": view.outbox_events,
        "peers": dict(view.peers),
    }


def _brokers(nodes: Sequence[NodeView], away: str) -> list[dict[str, Any]]:
    states: dict[str, dict[str, str]] = {}
    for node in nodes:
        for peer, state in node.peers.items():
            states.setdefault(peer, {})[node.name] = state
    # Each node knows it by an address with the node's own user.
    if away and not any(_place(peer) == _place(away) for peer in states):
        states[away] = {}
    return [
        {
            "broker": peer,
            "states": states[peer],
            "away": bool(away) and _place(peer) == _place(away),
        }
        for peer in sorted(states)
    ]


def _place(broker: str) -> str:
    return broker.rpartition("@")[2].rpartition("://")[2]


def _charts(
    node: str,
    view: NodeView | None,
    roll: Mapping[str, RollEntry],
    states: Mapping[Place, str],
) -> list[dict[str, Any]]:
    seen = {chart.name: chart for chart in view.charts} if view else {}
    work = {each.chart: each for each in view.work} if view else {}
    told_s = view.silent_s if view else 0.0
    return [
        {
            "node": node,
            "chart": name,
            "dead": (name in roll and roll[name].state == "died")
            or (name in seen and seen[name].dead),
            **_seen(seen.get(name), states.get((node, name), "")),
            **_work(work.get(name), told_s),
        }
        for name in sorted({*seen, *work, *roll})
    ]


def _seen(chart: ChartView | None, state: str) -> dict[str, Any]:
    if chart is None:
        return {"state": state, "rate": None, "handled": None, "last": ""}
    rate = chart.events_per_s
    return {
        "state": chart.state,
        "rate": None if rate is None else round(rate, 2),
        "handled": chart.handled,
        "last": chart.last_signal,
    }


def _work(work: WorkView | None, told_s: float) -> dict[str, Any]:
    if work is None:
        return {"waiting": None, "same_for_s": 0, "asks": [], "deaf": "", "group": ""}
    # Until now, and not until its node told of it.
    return {
        "waiting": work.waiting,
        "same_for_s": round(work.same_for_s + told_s, 1) if work.event else 0,
        "asks": [asdict(each) | {"waited_s": each.waited_s + told_s} for each in work.asks],
        "deaf": work.deaf,
        "group": work.group,
    }
