"""Every transition has one number, causes come first, and what is missing is told."""

from __future__ import annotations

import html
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence import mermaid, svg, text
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.wire.envelope import SnoopRecord
from support.recorded_mesh import Mesh, meshes, record


@settings(deadline=None)
@given(meshes(), st.randoms())
def test_every_transition_has_one_number_and_causes_have_the_lower_ones(
    mesh: Mesh, chance: random.Random
) -> None:
    # Given the records of hosts whose clocks disagree, in any order, some of them twice
    told = [*mesh.records, *chance.sample(mesh.records, len(mesh.records) // 2)]
    chance.shuffle(told)
    # When they are drawn
    drawn = diagram(told)
    # Then there is a number for each, and no effect before its cause
    assert [arrow.number for arrow in drawn.arrows] == list(range(1, len(mesh.records) + 1))
    numbers = numbers_of(mesh, told)
    for each in mesh.records:
        if each.cause:
            [cause] = [r for r in mesh.records if r.event_id == each.cause]
            assert numbers[id(cause)] < numbers[id(each)]
            assert drawn.arrows[numbers[id(each)] - 1].cause == numbers[id(cause)]
    # And each chart's transitions stand in their order
    for chart in {r.chart for r in mesh.records}:
        own = [numbers[id(r)] for r in mesh.records if r.chart == chart]
        assert own == sorted(own)


def numbers_of(mesh: Mesh, told: list[SnoopRecord]) -> dict[int, int]:
    """The number of each record: a chart's n-th arrow is its n-th record."""
    drawn = diagram(told)
    queues = {
        line.chart: iter([a.number for a in drawn.arrows if a.target == line])
        for line in drawn.lifelines
    }
    return {id(r): next(queues[r.chart]) for r in mesh.records}


def test_arrows_lead_from_the_transmit_to_the_transition_that_it_caused() -> None:
    # Given a chart that transmits, one that answers, and a timer
    mesh = Mesh([0.0, 0.0])
    asking = mesh.transition(0)
    answering = mesh.transition(1, after=asking)
    mesh.transition(0, after=answering)
    mesh.transition(1)
    # When it is drawn
    arrows = mermaid(diagram(mesh.records)).splitlines()[3:]
    # Then each arrow has the right ends
    assert [line.split(":")[0].strip() for line in arrows] == [
        "c1->>c1",
        "c1->>c2",
        "c2->>c1",
        "c2->>c2",
    ]


def test_a_chart_that_only_sends_has_a_lifeline_and_no_diagram_of_its_own() -> None:
    drawn = diagram([record(event_id="elsewhere/ghost/7", cause="elsewhere/ghost/local-3")])
    [arrow] = drawn.arrows
    assert arrow.sender is not None
    assert (arrow.sender.chart, arrow.sender.node, arrow.cause) == ("ghost", "", None)
    assert "participant c1 as ghost" in mermaid(drawn)
    assert text(drawn).count("[Statechart: ") == 1
    assert "sent by ghost\n" in text(drawn)


def test_the_spy_stream_tells_of_causes_that_were_handled_without_a_transition() -> None:
    # Given a chart that answers without a transition, to somebody whose clock is an hour behind
    mesh = Mesh([0.0, 0.0, -3600.0])
    asking = mesh.transition(0)
    hook = record(
        kind="spy",
        chart="chart1",
        incarnation="run1",
        event_id="run0/chart0/1",
        cause=asking.event_id,
        text="ask:here",
    )
    told = mesh.transition(2)
    answered = msgspec.structs.replace(
        told, event_id="run1/chart1/1", cause="run0/chart0/1", sequence=1
    )
    # When it is drawn with the spy records
    drawn = diagram([answered, asking, hook])
    # Then the answer stands below the question
    assert [(a.target.chart, a.cause) for a in drawn.arrows] == [("chart0", None), ("chart2", 1)]
    assert drawn.arrows[1].sender is not None
    assert drawn.arrows[1].sender.chart == "chart1"
    assert "disagree by 3599.990 s" in drawn.notes[0]


def test_what_a_chart_sent_later_stands_below_the_causes_of_what_it_sent_before() -> None:
    # Given a chart's second event, of a cause that no record tells, at a clock that is behind
    mesh = Mesh([0.0, 0.0, -3600.0])
    first = mesh.transition(1, after=mesh.transition(0))
    told = mesh.transition(2)
    second = msgspec.structs.replace(told, event_id="run0/chart0/1000", cause="run9/chart9/1")
    # When it is drawn, it stands below the cause of the first
    drawn = diagram([second, first, mesh.records[0]])
    charts = [arrow.target.chart for arrow in drawn.arrows]
    assert charts.index("chart0") < charts.index("chart2")


def test_causes_that_go_round_in_a_circle_are_drawn_all_the_same() -> None:
    one = record(event_id="run0/chart0/local-1", cause="run0/chart0/local-2", sequence=1)
    two = record(event_id="run0/chart0/local-2", cause="run0/chart0/local-1", sequence=2)
    itself = record(event_id="x/y/" + "9" * 5000, cause="x", sequence=3)
    assert [a.number for a in diagram([itself, two, one]).arrows] == [1, 2, 3]


def test_missing_records_are_told() -> None:
    drawn = diagram([record(sequence=4), record(sequence=7), record(sequence=8, kind="scribble")])
    assert drawn.notes == ("Before (2), 2 records of chart0 did not reach the trace.",)
    assert drawn.notes[0] in text(drawn)
    assert drawn.notes[0] in html.unescape(svg(drawn))


def test_charts_and_nodes_can_be_chosen() -> None:
    mesh = Mesh([0.0, 0.0])
    mesh.transition(1, after=mesh.transition(0))
    only = diagram(mesh.records, Selection(charts=("chart1",)))
    assert [(a.number, a.target.chart, a.cause) for a in only.arrows] == [(1, "chart1", None)]
    assert only.arrows[0].sender is not None
    with pytest.raises(TraceError, match="it has chart chart0 of node host0, chart chart1 of node"):
        diagram(mesh.records, Selection(nodes=("nowhere",)))


@pytest.mark.parametrize("kinds", [[], ["spy"], ["scribble"]])
def test_without_a_transition_there_is_an_error(kinds: list[str]) -> None:
    with pytest.raises(TraceError, match="enable_snoop_trace"):
        diagram([record(kind=kind) for kind in kinds])
