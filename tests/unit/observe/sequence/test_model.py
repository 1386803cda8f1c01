"""The values of a diagram: what its title counts, and names that several charts share."""

from __future__ import annotations

from miros_mesh.observe.sequence.diagram import diagram
from support.recorded_mesh import Mesh, record


def test_the_title_counts_every_chart_that_is_drawn() -> None:
    # Given a chart that sends and has no transition of its own
    drawing = diagram([record(event_id="run7/button/1")])
    assert [line.chart for line in drawing.lifelines] == ["button", "chart0"]
    assert drawing.title.startswith("1 transition, 2 charts, from ")


def test_charts_of_one_name_are_told_apart() -> None:
    drawn = diagram([record(node="a", incarnation="1"), record(node="b", incarnation="2")])
    assert {line.label for line in drawn.lifelines} == {"chart0 (a)", "chart0 (b)"}


def test_a_cut_keeps_the_first_arrows_and_counts_the_rest() -> None:
    mesh = Mesh([0.0, 0.0, 0.0])
    for host in (0, 1, 2, 0, 1):
        mesh.transition(host)
    whole = diagram(mesh.records)
    cut = whole.first(3, 2)
    assert [arrow.number for arrow in cut.arrows] == [1, 2, 4]
    assert [line.chart for line in cut.lifelines] == ["chart0", "chart1"]
    assert cut.cut == 2
    assert cut.notes[0].startswith("Cut here, 2 further transitions are not drawn.")
    assert whole.first(5, 3) is whole
