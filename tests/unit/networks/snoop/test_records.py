"""Snoop networks: records out, records in, and a record as a line on a console."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.snoop.records import SnoopNetwork, Step, render
from miros_mesh.observer import Observer
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord
from support.ports_in_hand import Handed, Shelf
from support.sealed import OURS, record, snoop_frame_of, trace_codec, trace_network

OWN, OTHER, RESET = "\033[94m", "\033[95m", "\033[0m"


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader whose time zone is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Counted(Observer):
    """How many records arrived."""

    events = 0

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        self.events += events


class Gaps(Observer):
    """Which gaps were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.told.append((network, sender, missing))


@pytest.fixture
def snoop() -> SnoopNetwork:
    return SnoopNetwork(trace_network(), OURS, "snoop.trace", Observer())


# Lines


@pytest.mark.usefixtures("utc")
def test_a_transition_is_shown_as_the_ancestor_showed_it() -> None:
    shown = render(record("e->to_inner() outer->inner", chart="04ccc_ao"))

    assert shown == " [+t] [2018-05-04 13:23:29.177773] [04ccc_ao] e->to_inner() outer->inner"


def test_a_step_of_the_event_processor_is_shown_as_the_ancestor_showed_it() -> None:
    shown = render(record("ENTRY_SIGNAL:outer", kind="spy", chart="0ca32_ao"))

    assert shown == " [+s] 0ca32_ao ENTRY_SIGNAL:outer"


@pytest.mark.usefixtures("utc")
def test_a_scribble_is_shown_as_the_ancestor_showed_it() -> None:
    shown = render(record("a note", kind="scribble", chart="04ccc_ao"))

    assert shown == " [+t] [2018-05-04 13:23:29.177773] [04ccc_ao] # a note"


def test_times_are_of_the_readers_zone(monkeypatch: pytest.MonkeyPatch, utc: None) -> None:
    monkeypatch.setenv("TZ", "UTC+4")
    time.tzset()

    assert "[2018-05-04 09:23:29.177773]" in render(record())


@pytest.mark.parametrize(("own", "color"), [(True, OWN), (False, OTHER)])
@pytest.mark.parametrize("kind", ["trace", "spy", "scribble"])
def test_own_names_and_other_names_have_two_colours(kind: str, own: bool, color: str) -> None:
    shown = record("a text", kind=kind, chart="04ccc_ao")

    colored = render(shown, own=own, color=True)

    assert f"{color}04ccc_ao{RESET}" in colored
    assert colored.replace(color, "").replace(RESET, "") == render(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\033[2Jgone", r"\x1b[2Jgone"),
        ("two\nlines\r", r"two\nlines\r"),
        ("bell\a\0", r"bell\x07\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b31m", r"\x9b31m"),
        ("plain, ünïcode, 日本 ✓", "plain, ünïcode, 日本 ✓"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.text(min_size=1, max_size=20), st.sampled_from(["trace", "spy", "scribble"]))
def test_a_line_is_one_line_and_commands_no_terminal(text: str, name: str, kind: str) -> None:
    line = render(record(text, chart=name, kind=kind))

    assert line.isprintable()
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("moment", [0.0, 253_370_764_800.0])
def test_every_time_that_the_wire_allows_can_be_shown(moment: float) -> None:
    assert render(record(time=moment)).startswith(" [+t] [")


# Records


def test_a_step_is_sent_and_shown_to_the_nodes_own_watchers(snoop: SnoopNetwork) -> None:
    shelf, seen = Shelf(), list[SnoopRecord]()
    snoop.network.attach(shelf)
    snoop.watch("watching", seen.extend)
    step = Step("trace", 1.5, "e->go() a->b", "go", "a", "b", "0urs/talker/local-1", "x/y/1")

    snoop.begin("talker")
    records = snoop.records("talker", snoop.number("talker", 1), [step])
    snoop.show(records)
    snoop.send(records)

    (sent,) = trace_codec.open(shelf.parcels[0].seal())
    assert seen == [sent]
    assert shelf.parcels[0].routing_key == "snoop.trace"
    assert sent == SnoopRecord(
        OURS.node,
        "talker",
        OURS.incarnation,
        1,
        "trace",
        1.5,
        "e->go() a->b",
        "go",
        "a",
        "b",
        "0urs/talker/local-1",
        "x/y/1",
    )


def test_a_record_of_another_node_is_shown_and_acknowledged(snoop: SnoopNetwork) -> None:
    seen = list[SnoopRecord]()
    snoop.watch("watching", seen.extend)
    delivery = Handed(snoop_frame_of(record("one"), record("two", sequence=2)))

    snoop.receiver()(delivery)

    assert [each.text for each in seen] == ["one", "two"]
    assert (delivery.acks, delivery.rejects) == (1, 0)


def test_a_record_of_the_own_node_that_comes_back_is_not_shown_again(snoop: SnoopNetwork) -> None:
    seen = list[SnoopRecord]()
    snoop.watch("watching", seen.extend)
    delivery = Handed(snoop_frame_of(record(incarnation=OURS.incarnation)))

    snoop.receiver()(delivery)

    assert seen == []
    assert delivery.acks == 1


def test_what_is_missing_in_a_chart_s_stream_is_told_to_observers() -> None:
    observer = Gaps()
    receive = SnoopNetwork(trace_network(observer), OURS, "snoop.trace", observer).receiver()

    # Whoever joins late has missed nothing; what comes again, or too late, is no gap of its own.
    for numbers in ([7, 8], [8, 9], [12], [10], [13]):
        receive(Handed(snoop_frame_of(*(record(sequence=number) for number in numbers))))
    # Each chart, and each incarnation, counts for itself.
    receive(Handed(snoop_frame_of(record(chart="other", sequence=40))))
    receive(Handed(snoop_frame_of(record(incarnation="anew", sequence=1))))
    # What the own node tells came to its watchers in another way.
    for number in (1, 5):
        own = record(incarnation=OURS.incarnation, sequence=number)
        receive(Handed(snoop_frame_of(own)))

    assert observer.told == [("snoop_trace", "talker", 2)]


def test_what_was_sent_between_two_queues_is_no_gap() -> None:
    observer = Gaps()
    snoop = SnoopNetwork(trace_network(observer), OURS, "snoop.trace", observer)
    before, after = snoop.receiver(), snoop.receiver()

    before(Handed(snoop_frame_of(record(sequence=1))))
    after(Handed(snoop_frame_of(record(sequence=9))))
    # Of the first queue, and late
    before(Handed(snoop_frame_of(record(sequence=2))))
    after(Handed(snoop_frame_of(record(sequence=10))))

    assert observer.told == []


def test_a_refused_frame_is_rejected_and_not_acknowledged(snoop: SnoopNetwork) -> None:
    delivery = Handed(b"\x01 rubbish")

    snoop.receiver()(delivery)

    assert (delivery.acks, delivery.rejects) == (0, 1)


def test_one_watcher_of_several_charts_sees_each_record_once(snoop: SnoopNetwork) -> None:
    seen, others = list[SnoopRecord](), list[SnoopRecord]()
    console, other_console = seen.extend, others.extend
    for chart, watcher in (("one", console), ("two", console), ("three", other_console)):
        snoop.watch(chart, watcher)

    snoop.receiver()(Handed(snoop_frame_of(record())))

    assert (len(seen), len(others)) == (1, 1)


def test_a_chart_that_no_longer_asks_is_not_shown_anything(snoop: SnoopNetwork) -> None:
    seen = list[SnoopRecord]()
    snoop.watch("one", seen.extend)

    snoop.unwatch("one")
    snoop.unwatch("never asked")
    snoop.receiver()(Handed(snoop_frame_of(record())))

    assert seen == []


def test_a_frame_of_our_own_that_comes_back_is_not_opened() -> None:
    observer = Counted()
    network = trace_network(observer, expendable=True)
    snoop, shelf = SnoopNetwork(network, OURS, "snoop.trace", observer), Shelf()
    network.attach(shelf)
    snoop.send(snoop.records("talker", 1, [Step("trace", 1.5, "a"), Step("trace", 1.5, "b")]))
    body = shelf.parcels[0].seal()
    receive = snoop.receiver()
    network._codec = None  # type: ignore[assignment]
    delivery = Handed(body)

    receive(delivery)

    assert (delivery.acks, observer.events) == (1, 2)
    assert not network.is_echo(delivery), "a frame comes back once"
