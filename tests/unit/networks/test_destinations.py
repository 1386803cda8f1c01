"""Several topics and addresses of one chart: who hears some of them gets all of that, in order.

Whole nodes but for their brokers: what is sent is carried, lost, doubled and swapped here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miros_mesh.address import direct_topic, hears
from miros_mesh.link.ports import Parcel
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.history import History
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.letters.home import Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network
from miros_mesh.networks.order import routes as bounds
from miros_mesh.networks.order.routes import Routes
from miros_mesh.networks.repair import Repair
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import (
    MAX_HEARD,
    ListenerRepair,
    RepairMessage,
    RoutedRepair,
)
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import Handed, Shelf
from support.sealed import FRAME_LIMIT, KEY, LetterShelf, mesh_codec, serializer

repair_codec = Codec(
    "repair",
    KeyRing([KEY]),
    RepairMessage,
    max_frame_bytes=FRAME_LIMIT,
    extended=(ListenerRepair, RoutedRepair),
)
SYNC = "sync"
X, Y, Z = (direct_topic("receiving", each) for each in ("x", "y", "z"))
ELSEWHERE = direct_topic("elsewhere", "x")
DESTINATIONS = ("a", "a.b", "b", "c.d", X, Y, ELSEWHERE)
# What the charts of the receiving node hear, beside `SYNC`.
HEARERS: dict[str, tuple[str, ...]] = {"x": ("a", X), "y": ("a.#", "b", Y), "z": ("#", Z)}


class Told(Observer):
    def __init__(self) -> None:
        self.gaps = 0
        self.repaired_events = 0
        self.reasons: list[str] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps += missing

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.reasons += [reason] * events


class Site:
    """A node: what it sends lies on shelves, and its repair is driven by hand."""

    def __init__(
        self, name: str, hearers: dict[str, tuple[str, ...]], *, max_events: int = 10_000
    ) -> None:
        self.identity = Identity(name, f"0f {name}")
        self.told, self.events, self.repairs = Told(), Shelf(), Shelf()
        history = History(max_events=max_events, max_bytes=10**7)
        network = Network(
            "mesh",
            mesh_codec,
            self.told,
            frame_events=3,
            frame_bytes=FRAME_LIMIT // 2,
            history=history,
            routes=Routes(),
        )
        repairs = Network("repair", repair_codec, self.told, frame_events=3, frame_bytes=50_000)
        network.attach(self.events)
        repairs.attach(self.repairs)
        self.mesh = Mesh(network, self.identity, serializer, self.told, dedup_window=1_000)
        self.inboxes: dict[str, Inbox] = {}
        self.fifos: dict[str, list[Arrival]] = {}
        self.repair = Repair(
            repairs,
            self.mesh,
            history,
            self.inboxes.values,
            interval_s=60.0,
            timeout_s=60.0,
            message_bytes=50_000,
            whole_since=lambda: 0.0,
        )
        for chart, patterns in hearers.items():
            self.begin(chart, SYNC, *patterns)

    def begin(self, chart: str, *patterns: str) -> Inbox:
        fifo = self.fifos[chart] = []
        inbox = self.inboxes[chart] = Inbox(
            self.mesh,
            Place(chart, f"queue of {chart}"),
            LetterShelf(self.told).letters,
            room=lambda: 10_000,
            post=fifo.append,
            hears=patterns,
        )
        # So that nothing that comes is called older than the chart.
        inbox._since -= 60.0
        inbox.open()
        return inbox

    def send(self, destination: str, chart: str = "sender") -> None:
        self.mesh.transmit(chart, destination, "ping", None, None)

    def get(self, chart: str, parcel: Parcel, frame: bytes | None = None) -> Handed:
        """Deliver a frame to the queue of a chart, if it is for it."""
        delivery = Handed(frame or parcel.seal(), topic=parcel.routing_key)
        if hears(self.inboxes[chart].hears, parcel.routing_key):
            self.inboxes[chart].receive(delivery)
        return delivery

    def handled(self, chart: str) -> list[int]:
        return [arrival.envelope.sequence for arrival in self.fifos[chart]]

    def destinations(self, chart: str) -> list[str]:
        return [arrival.topic for arrival in self.fifos[chart]]

    def heard(self, parcel: Parcel) -> None:
        self.repair.receive(Handed(parcel.seal(), topic=parcel.routing_key))


def ask(asking: Site, *others: Site, rounds: int = 20) -> int:
    """Let repair ask and be answered until nothing is missing; return how many messages it took."""
    messages, now = 0, time.monotonic()
    for _ in range(rounds):
        missing = asking.repair._missing(now)
        if not missing:
            break
        # It waits before it asks, and then longer and longer
        now += 3.0
        asking.repair._ask(missing, now)
        for here, there in ((asking, others), *((each, [asking]) for each in others)):
            parcels, here.repairs.parcels = here.repairs.parcels, []
            messages += len(parcels)
            for parcel in parcels:
                for site in there:
                    site.heard(parcel)
    return messages


def for_it(to: Sequence[str], patterns: Collection[str]) -> list[int]:
    """The numbers of what is for who hears that, when a chart sends there in turn."""
    return [number for number, each in enumerate(to, 1) if hears(patterns, each)]


def beat(sender: Site, *charts: str) -> None:
    for chart in charts or ("sender",):
        sender.mesh.join(chart, SYNC)
    for _ in range(3):
        sender.mesh.beat()


destinations = st.lists(st.sampled_from(DESTINATIONS), max_size=40)
of_frames = st.sets(st.integers(0, 40), max_size=15)


@settings(deadline=None, max_examples=150)
@given(destinations, st.fixed_dictionaries(dict.fromkeys(HEARERS, of_frames)), of_frames)
def test_each_chart_gets_what_is_for_it_once_and_in_order_whatever_is_lost(
    to: list[str], lost: dict[str, set[int]], swapped: set[int]
) -> None:
    sending, receiving = Site("sending", {}), Site("receiving", HEARERS)
    to = [SYNC, *to]
    for each in to:
        sending.send(each)
    frames = len(sending.events.parcels)
    beat(sending)
    parcels = sending.events.parcels
    for place in (each for each in swapped if 0 < each < frames - 1):
        parcels[place : place + 2] = reversed(parcels[place : place + 2])

    for (place, parcel), chart in product(enumerate(parcels), HEARERS):
        # The first begins a stream, and the beats are those of now
        if not 0 < place < frames or place not in lost[chart]:
            # Twice, as after a lost connection
            for _ in range(1 + (place in swapped)):
                receiving.get(chart, parcel)
    ask(receiving, sending)

    for chart, inbox in receiving.inboxes.items():
        assert receiving.handled(chart) == for_it(to, inbox.hears)
        assert inbox.holes() == {}
    assert receiving.told.gaps == 0
    assert set(receiving.told.reasons) <= {"duplicate"}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 79), max_size=60),
    # Of addresses, which have even numbers, a chart has one.
    st.tuples(st.integers(0, 79), st.sampled_from(range(1, 80, 2))),
    of_frames,
    st.integers(2, 100),
)
def test_with_very_many_destinations_too_whatever_is_remembered_of_them(
    to: list[int], own: tuple[int, int], lost: set[int], most: int
) -> None:
    """More than an event has room to name, and more than are remembered."""
    names = [f"topic.{n}" if n % 2 else direct_topic("receiving", str(n)) for n in range(80)]
    patterns = tuple(names[each] for each in own)
    sending, receiving = Site("sending", {}), Site("receiving", {"x": patterns})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MOST_DESTINATIONS", most)
        where = [SYNC, *(names[each] for each in to)]
        for each in where:
            sending.send(each)
        for place, parcel in enumerate(sending.events.parcels):
            if place == 0 or place not in lost:
                receiving.get("x", parcel)
        ask(receiving, sending)
        frames = len(sending.events.parcels)
        beat(sending)
        for parcel in sending.events.parcels[frames:]:
            receiving.get("x", parcel)
        ask(receiving, sending)

    came = receiving.handled("x")
    wanted = for_it(where, receiving.inboxes["x"].hears)
    # Those that were lost last, under a topic that is forgotten, no beat tells of
    assert came == wanted[: len(came)]
    assert len(came) == len(wanted) or most < 80
    assert receiving.told.gaps == 0


def test_what_its_sender_has_no_more_is_a_gap_of_who_may_have_heard_it() -> None:
    sending = Site("sending", {}, max_events=4)
    receiving = Site("receiving", {"x": ("a",), "y": ("b",)})
    for each in (SYNC, "a", "b", "a", "a", "b", "a", SYNC):
        sending.send(each)
    for parcel in sending.events.parcels:
        if parcel.routing_key == SYNC:
            for chart in ("x", "y"):
                receiving.get(chart, parcel)

    ask(receiving, sending)

    assert receiving.handled("x") == [1, 5, 7, 8]
    assert receiving.handled("y") == [1, 6, 8]
    # What 2, 3 and 4 were its sender knows no more, and so says that they are gone
    assert receiving.told.gaps == 6
    assert all(inbox.holes() == {} for inbox in receiving.inboxes.values())


def test_an_answer_to_one_chart_is_none_to_another_that_hears_more() -> None:
    """Both miss the same number, and the other one begins to when the answer is on its way."""
    sending = Site("sending", {})
    receiving = Site("receiving", {"x": ("a",), "y": ("b",)})
    for each in (SYNC, "b", "a", SYNC):
        sending.send(each)
    first, *_, last = sending.events.parcels
    receiving.get("x", first)
    receiving.get("x", last)
    now = time.monotonic()
    receiving.repair._ask(receiving.repair._missing(now), now)
    receiving.repair._ask(receiving.repair._missing(now), now + 3.0)
    (asked,) = receiving.repairs.parcels
    receiving.repairs.parcels = []
    sending.heard(asked)
    receiving.get("y", first)
    receiving.get("y", last)

    for answer in sending.repairs.parcels:
        receiving.heard(answer)
    sending.repairs.parcels = []
    assert receiving.handled("x") == [1, 3, 4]
    # That 3 is not for it is told by where it went
    assert receiving.inboxes["y"].holes() == {(sending.identity.incarnation, "sender"): [(2, 2)]}
    ask(receiving, sending)

    assert receiving.handled("y") == [1, 2, 4]
    assert receiving.told.gaps == 0


def test_charts_that_hear_more_than_a_question_has_room_for_ask_in_several() -> None:
    charts = {f"c{n}": tuple(f"{'x' * 100}.{n}.{m}" for m in range(4)) for n in range(10)}
    sending, receiving = Site("sending", {}), Site("receiving", charts)
    to = [SYNC, *(topic for topics in charts.values() for topic in topics), SYNC]
    for each in to:
        sending.send(each)
    for parcel in sending.events.parcels:
        if parcel.routing_key == SYNC:
            for chart in charts:
                receiving.get(chart, parcel)

    ask(receiving, sending)

    for chart, inbox in receiving.inboxes.items():
        assert receiving.handled(chart) == for_it(to, inbox.hears)
    assert receiving.told.gaps == 0


def test_a_chart_that_hears_more_than_one_question_has_room_for_is_answered_too() -> None:
    topics = tuple(f"{'x' * 100}.{n}" for n in range(30))
    sending, receiving = Site("sending", {}), Site("receiving", {"x": (*topics, X)})
    to = [SYNC, topics[3], "of.others", ELSEWHERE, X, SYNC]
    for each in to:
        sending.send(each)
    for parcel in (sending.events.parcels[0], sending.events.parcels[-1]):
        receiving.get("x", parcel)

    ask(receiving, sending)

    assert receiving.handled("x") == [1, 2, 5, 6]
    assert receiving.told.gaps == 0


def test_who_listens_later_waits_for_nothing_of_before() -> None:
    sending, receiving = Site("sending", {}), Site("receiving", {})
    for each in ("a", "b", X, "a", "b"):
        sending.send(each)
    receiving.begin("late", "b", X)
    before = len(sending.events.parcels)
    for each in ("a", X, "a", "b"):
        sending.send(each)
    for parcel in sending.events.parcels[before:]:
        receiving.get("late", parcel)

    assert receiving.handled("late") == [7, 9]
    assert ask(receiving, sending) == 0


def test_nobody_else_gets_what_is_for_one_chart_by_asking() -> None:
    """One that hears all topics is not given what went to an address."""
    sending, receiving = Site("sending", {}), Site("receiving", {"all": ("#",)})
    for each in (SYNC, X, "a", X, SYNC):
        sending.send(each)
    for place in (0, -1):
        receiving.get("all", sending.events.parcels[place])

    ask(receiving, sending)

    assert receiving.destinations("all") == [SYNC, "a", SYNC]
    assert receiving.told.gaps == 0


def test_an_event_of_a_frame_that_says_nothing_is_no_word_about_those_before() -> None:
    """In a frame of the form with routes it looks as if it could."""
    sending, receiving = Site("sending", {}), Site("receiving", {"x": ("a",)})
    to = ("a", "b", "a", "b", "a", "a")
    for each in to:
        sending.send(each)
    *_, last = sending.events.parcels
    assert len(mesh_codec.open(last.seal())) == 2
    receiving.get("x", sending.events.parcels[0])
    receiving.get("x", last)

    assert receiving.handled("x") == [1]
    ask(receiving, sending)

    assert receiving.handled("x") == [1, 3, 5, 6]


def test_beats_tell_who_hears_any_of_the_last_destinations_what_is_missing() -> None:
    sending, receiving = Site("sending", {}), Site("receiving", {"x": ("a",), "y": (Y,)})
    to = [SYNC, "a", Y, "b"]
    for each in to:
        sending.send(each)
    for chart in ("x", "y"):
        receiving.get(chart, sending.events.parcels[0])
    before = len(sending.events.parcels)
    beat(sending)
    beats = sending.events.parcels[before:]
    # At each of the four destinations, twice
    assert len(beats) == 8
    for parcel in beats:
        for chart in ("x", "y"):
            receiving.get(chart, parcel)

    ask(receiving, sending)

    assert receiving.handled("x") == [1, 2]
    assert receiving.handled("y") == [1, 3]
    assert receiving.told.gaps == 0


def test_a_question_costs_what_it_takes_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a hundred bytes would cost another node seconds, as often as somebody likes."""
    monkeypatch.setattr("miros_mesh.networks.repair._COMPARISON_BYTES", 10_000)
    sending = Site("sending", {})
    for number in range(100):
        sending.send(f"topic.{number}")
    patterns = tuple(f"*.none.{number}" for number in range(MAX_HEARD))
    stream = sending.identity.incarnation, "sender"
    for number in range(1, 6):
        origin = "made up", "made up", "f00", number
        question = RoutedRepair(*origin, stream[0], "ask", stream, ((1, 100),), hears=patterns)
        frame = repair_codec.seal([repair_codec.encode(question)], stream[0])
        sending.repair.receive(Handed(frame, topic=stream[0]))

    # The first is answered, and costs all that is given at once
    assert len(sending.repairs.parcels) == 1
    assert sending.told.reasons == ["repair_limit"] * 4
