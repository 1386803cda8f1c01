"""What is kept of charts, flows and nodes, in bounds."""

from __future__ import annotations

import msgspec
import pytest

from miros_mesh.observe.page import flows as flows_module
from miros_mesh.observe.page.charts import MAX_TRANSITIONS, ChartSeen
from miros_mesh.observe.page.flows import MAX_FLOWS, MAX_SIGNALS, Flows, Pace
from miros_mesh.observe.page.rolls import Rolls
from miros_mesh.observe.page.wanted import MINUTE_S, Wanted
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import NodeRoll, RollEntry, SnoopRecord

RECORD = SnoopRecord("bank", "till", "1nc", 1, "trace", 1.0, "e->charge() a->b", "charge", "a", "b")


def line(text: str) -> SnoopRecord:
    spied = msgspec.structs.replace(RECORD, kind="spy", text=text, signal=None)
    return msgspec.structs.replace(spied, from_state=None, to_state=None)


def test_states_are_counted_from_transitions_and_hooks_from_the_spy() -> None:
    seen = ChartSeen()
    for record in (RECORD, RECORD, line("peek:b:HOOK"), line("<- Queued:(3) Deferred:(1)")):
        seen.note(record)
    told = seen.as_json()
    assert told["transitions"] == [
        {"from": "a", "signal": "charge", "to": "b", "count": 2},
        {"from": "b", "signal": "peek", "to": "", "count": 1},
    ]
    assert (told["state"], told["queued"], told["deferred"], told["records"]) == ("b", 3, 1, 4)
    assert told["path"] == [["a", "charge", "b"]] * 2


def test_a_chart_that_makes_up_names_fills_no_memory() -> None:
    seen = ChartSeen()
    for number in range(MAX_TRANSITIONS + 50):
        seen.note(msgspec.structs.replace(RECORD, signal=f"signal {number}"))
    assert len(seen.as_json()["transitions"]) == MAX_TRANSITIONS
    assert seen.unlisted == 50


def test_a_pace_is_that_of_the_last_whole_seconds() -> None:
    pace = Pace()
    for second in range(10):
        pace.add(second + 0.5, 10)
    assert pace.per_s(10.2) == 10
    assert pace.per_s(12.2) == 6
    assert pace.per_s(60.0) == 0


def test_what_came_lately_is_told_while_it_goes_on() -> None:
    pace = Pace(60)
    assert pace.lately(0.0, 11) == 0
    for second in range(100):
        pace.add(second + 0.5, 2)
    assert pace.lately(99.9, 11) == 120
    assert pace.lately(110.9, 11) == 98
    assert pace.lately(111.0, 11) == 0


def test_flows_are_told_the_fastest_first_with_their_median_way() -> None:
    now = 100.0
    flows = Flows(lambda: now)
    for latency_s in (0.1, 0.2, 9.0):
        flows.note(("front", "desk"), ("bank", "till"), "charge")
        flows.took(("front", "desk"), ("bank", "till"), latency_s)
    flows.note(("bank", "till"), ("front", "desk"), "charged")
    now += 1
    first, second = flows.as_json(9)
    assert (first["from"], first["count"], first["latency_s"]) == (["front", "desk"], 3, 0.2)
    assert (second["rate"], second["latency_s"], second["signals"]) == (0.2, None, {"charged": 1})
    assert len(flows.as_json(1)) == 1


def test_flows_and_their_signals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows_module, "MAX_FLOWS", 10)
    flows = Flows()
    for number in range(20):
        flows.note(("a", f"{number}"), ("b", "c"), "go")
    for number in range(MAX_SIGNALS + 5):
        flows.note(("a", "19"), ("b", "c"), f"signal {number}")
    assert len(flows) == 10
    assert MAX_FLOWS == 5_000
    (last,) = (each for each in flows.as_json(99) if each["from"] == ["a", "19"])
    assert len(last["signals"]) == MAX_SIGNALS
    assert last["unlisted"] == 6


def roll(sequence: int, *charts: RollEntry, whole: bool = True, **changes: object) -> NodeRoll:
    said = NodeRoll("bank", "bank", "1nc", sequence, 1.0, 10.0, whole, charts)
    return msgspec.structs.replace(said, **changes)


TILL, SAFE = RollEntry("till", "shop", "alive"), RollEntry("safe", "shop", "alive")


def test_rolls_say_which_charts_there_are() -> None:
    now = 0.0
    rolls = Rolls(MemoryMesh().config(), lambda: now)

    def names() -> list[str]:
        return [name for _, charts in rolls.nodes().values() for name in charts]

    rolls.hear([roll(1, TILL, SAFE)])
    assert names() == ["till", "safe"]
    rolls.hear([roll(2, RollEntry("till", "shop", "stopped"), whole=False)])
    assert names() == ["safe"]
    # A late one, and one of an earlier process.
    rolls.hear([roll(1, TILL), roll(9, TILL, incarnation="0nc", started=0.5)])
    assert names() == ["safe"]
    rolls.hear([roll(1, TILL, incarnation="2nc", started=2.0)])
    assert rolls.nodes()["bank"][0] == "2nc"
    now += 60
    assert rolls.nodes() == {}


@pytest.mark.parametrize(
    ("query", "has"),
    [
        ({}, True),
        ({"chart": "till"}, True),
        ({"chart": "t*"}, True),
        ({"chart": "desk"}, False),
        ({"signal": "charge"}, True),
        ({"signal": "char"}, False),
        ({"text": "A->B"}, True),
        ({"text": "BANK"}, True),
        ({"text": "desk"}, False),
    ],
)
def test_a_filter_takes_names_patterns_and_any_text(query: dict[str, str], has: bool) -> None:
    assert Wanted.of(query).has(RECORD) == has


@pytest.mark.parametrize("seconds", ["", "nan", "-1", "x", "1e9"])
def test_a_time_that_is_none_is_a_minute(seconds: str) -> None:
    assert Wanted.of({"seconds": seconds}).seconds == MINUTE_S
