"""Sequence diagrams: every transition has one number, causes come first, and names do no harm."""

from __future__ import annotations

import html
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence import mermaid, page, plantuml, svg, text
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.mermaid import MAX_CHARACTERS
from miros_mesh.observe.sequence.model import Diagram
from miros_mesh.observe.sequence.names import shown
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.wire.envelope import SnoopRecord
from support import sequence_diagrams

BEGIN = 1_795_000_000.0


@dataclass
class Mesh:
    """What charts on hosts with clocks of their own would tell, and what really caused what."""

    clocks: list[float]
    now: float = BEGIN
    records: list[SnoopRecord] = field(default_factory=list)
    causes: dict[str, str | None] = field(default_factory=dict)

    def transition(self, host: int, *, after: SnoopRecord | None = None) -> SnoopRecord:
        """A chart's next one, by an event that another transition's handler sent, or a timer."""
        self.now += 0.01
        chart, incarnation = f"chart{host}", f"run{host}"
        place = sum(record.chart == chart for record in self.records) + 1
        event_id = f"{incarnation}/{chart}/local-{place}"
        if after and after.chart != chart:
            event_id = f"{after.incarnation}/{after.chart}/{len(self.records) + 1}"
        record = SnoopRecord(
            node=f"host{host}",
            chart=chart,
            incarnation=incarnation,
            sequence=place,
            kind="trace",
            time=self.now + self.clocks[host],
            text="e->go() here->there",
            signal="go",
            from_state="here",
            to_state="there",
            event_id=event_id,
            cause=after.event_id if after else None,
        )
        self.records.append(record)
        return record


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    clocks = draw(st.lists(st.floats(-4000, 4000), min_size=1, max_size=4))
    mesh = Mesh(clocks)
    for _ in range(draw(st.integers(1, 25))):
        earlier = draw(st.sampled_from([None, *mesh.records]))
        mesh.transition(draw(st.integers(0, len(clocks) - 1)), after=earlier)
    return mesh


def record(**changes: object) -> SnoopRecord:
    return msgspec.structs.replace(Mesh([0.0]).transition(0), **changes)


# Title


def test_the_title_counts_every_chart_that_is_drawn() -> None:
    # Given a chart that sends and has no transition of its own
    drawing = diagram([record(event_id="run7/button/1")])
    assert [line.chart for line in drawing.lifelines] == ["button", "chart0"]
    assert drawing.title.startswith("1 transition, 2 charts, from ")


# Numbers


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


@settings(deadline=None)
@given(meshes())
def test_every_form_shows_every_number_once(mesh: Mesh) -> None:
    drawn = diagram(mesh.records)
    numbers = [str(arrow.number) for arrow in drawn.arrows]
    assert sorted(re.findall(r"->+c\d+: \((\d+)\)", mermaid(drawn)), key=int) == numbers
    assert sorted(re.findall(r"-> c\d+ : \((\d+)\)", plantuml(drawn)), key=int) == numbers
    pictured = re.findall(r"<text[^>]*>\((\d+)\)", svg(drawn))
    assert sorted(pictured, key=int) == numbers
    written = text(drawn)
    assert Counter(re.findall(r"^ *(\d+)\. [+-]", written, re.MULTILINE)) == Counter(numbers)
    bars = re.findall(r"^[ |]*[|\\] +\((\d+)\)[ |]*$", written, re.MULTILINE)
    assert sorted(bars, key=int) == numbers


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


def test_charts_of_one_name_are_told_apart() -> None:
    drawn = diagram([record(node="a", incarnation="1"), record(node="b", incarnation="2")])
    assert {line.label for line in drawn.lifelines} == {"chart0 (a)", "chart0 (b)"}


@pytest.mark.parametrize("kinds", [[], ["spy"], ["scribble"]])
def test_without_a_transition_there_is_an_error(kinds: list[str]) -> None:
    with pytest.raises(TraceError, match="enable_snoop_trace"):
        diagram([record(kind=kind) for kind in kinds])


# Large traces


def test_a_large_trace_is_cut_and_says_so() -> None:
    # Given more transitions and charts than anybody can look at
    mesh = Mesh([0.0] * 40)
    for place in range(40):
        mesh.transition(place)
    first = mesh.records[0]
    many = [
        msgspec.structs.replace(first, sequence=n, time=BEGIN + n, event_id=f"e{n}")
        for n in range(2, 20_000)
    ]
    began = time.monotonic()
    drawn = diagram([*mesh.records, *many])
    # When it is drawn
    forms = {form: draw(drawn) for form, draw in sequence_diagrams.FORMS.items()}
    # Then pictures are bounded and say what is missing, and the text has it all
    assert len(forms[".mmd"]) < 50_000
    assert len(forms[".svg"]) < 1_000_000
    for form in (".mmd", ".puml", ".svg", ".html"):
        said = re.search(r"Cut here, (\d+) further transitions are not drawn", forms[form])
        assert said
        shown_arrows = len(re.findall(r'<path class="own" |c\d+->>|c\d+ -> c', forms[form]))
        assert int(said[1]) + shown_arrows == len(drawn.arrows)
    assert forms[".txt"].count(" e->") == len(drawn.arrows)
    assert "Cut" not in forms[".txt"]
    # A limit that only a runaway meets.
    assert time.monotonic() - began < 60


def test_a_chart_with_too_many_states_has_a_list_only() -> None:
    many = [record(sequence=n, to_state=f"s{n}") for n in range(1, 100)]
    assert "100 states are too many" in text(diagram(many))


def test_mermaid_stays_below_the_size_that_mermaid_refuses() -> None:
    long = ";" * 250
    many = [
        record(sequence=2 * n, chart=long, signal=long, from_state=long, to_state=long)
        for n in range(1, 300)
    ]
    drawn = mermaid(diagram(many))
    assert len(drawn) <= MAX_CHARACTERS
    assert "Cut here, " in drawn


# Names that would be something else to a terminal, a diagram language or a browser

HOSTILE = [
    "a;b#c",
    "end",
    "%%{init: {'theme':'dark'}}%%",
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    'x" as y\n@enduml\n!include /etc/passwd',
    "%getenv(PATH)",
    "a->>b: c",
    "a__b//c**d--e~~f",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "line\r\nbreak\u2028\u2029",
    "]]>&amp;&#60;",
    "-->",
    "$$x$$ `y` [[http://x]]",
    "\ud800",
    "\ufffe",
    " ",
    "style: x#y;",
]
names = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=80))
hostile = st.builds(
    record, chart=names, node=names, signal=names, from_state=names, to_state=names
).map(lambda each: diagram([each]))

_SAFE = r"(?:[^\W]|[ .,()_/→-]|{escape})+"
_MERMAID = _SAFE.format(escape=r"#\d+;")
_PLANTUML = _SAFE.format(escape=r"<U\+[0-9A-F]{4,6}>")


@settings(deadline=None)
@given(hostile)
def test_no_name_leaves_its_place_in_mermaid(drawn: Diagram) -> None:
    lines = mermaid(drawn).split("\n")
    assert lines.pop() == ""
    grammar = ["sequenceDiagram", rf"    participant c1 as {_MERMAID}", rf"    c1->>c1: {_MERMAID}"]
    assert all(re.fullmatch(g, line) for g, line in zip(grammar, lines, strict=True))
    [label] = re.findall(r" as (.*)", lines[1])
    assert re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label) == shown(drawn.lifelines[0].chart)


@settings(deadline=None)
@given(hostile)
def test_no_name_leaves_its_place_in_plantuml(drawn: Diagram) -> None:
    lines = plantuml(drawn).split("\n")
    assert lines.pop() == ""
    grammar = [
        "@startuml",
        rf'participant "{_PLANTUML}" as c1',
        rf"c1 -> c1 : {_PLANTUML}",
        "@enduml",
    ]
    assert all(re.fullmatch(g, line) for g, line in zip(grammar, lines, strict=True))
    # Doubled, these are bold, italic and the like.
    assert not re.search(r"__|//|--|\*\*|~~", lines[2])


@settings(deadline=None)
@given(hostile)
def test_no_name_is_more_than_text_in_a_picture(drawn: Diagram) -> None:
    root = ET.fromstring(svg(drawn))
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "circle", "rect"} | {
        "text",
        "g",
        "line",
    }
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert f"(1) {shown(drawn.arrows[0].signal, 40)}()" in texts


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}


@settings(deadline=None)
@given(hostile)
def test_no_name_is_more_than_text_on_a_page(drawn: Diagram) -> None:
    plain = Tags()
    plain.feed(page(diagram([record()])))
    dangerous = Tags()
    dangerous.feed(page(drawn))
    assert dangerous.seen == plain.seen
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page(diagram([record()])))


@settings(deadline=None)
@given(hostile)
def test_no_control_character_reaches_a_terminal(drawn: Diagram) -> None:
    assert text(drawn).replace("\n", "").isprintable()


# The drawings in the repository


@pytest.mark.parametrize("name", [*sequence_diagrams.DRAWN])
def test_a_drawing_is_as_it_was(name: str) -> None:
    file = sequence_diagrams.FOLDER / name
    drawing = sequence_diagrams.drawn(name)
    assert file.read_text(encoding="utf-8") == drawing, "run: make drawings"
