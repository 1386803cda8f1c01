"""Which charts of other nodes are alive, and who is told of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from miros_mesh.networks.network import Network
from miros_mesh.node import roster as rosters
from miros_mesh.node.roster import SILENT_AFTER, Roster
from miros_mesh.observer import Observer
from miros_mesh.signals import CHART_DOWN, CHART_UP, ChartChange
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import GroupedRoll, KeyedRoll, NodeRoll, RollEntry
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing, generate_key
from support.ports_in_hand import TOPIC, Handed
from support.sealed import FRAME_LIMIT, KEY, OURS, THEIRS
from support.waiting import wait_until

NEXT_S = 5.0
codec = Codec("roll", KeyRing([KEY]), NodeRoll, max_frame_bytes=FRAME_LIMIT)


class Fifo(list[tuple[str, object]]):
    """What one chart was told."""

    def post(self, signal: str, payload: object) -> None:
        self.append((signal, payload))


class Elsewhere:
    """A process of another node, which says what it likes."""

    def __init__(self, identity: Identity = THEIRS, started: float = 1_000.0) -> None:
        self.identity = identity
        self.started = started
        self.sequence = 0

    def roll(self, *entries: RollEntry, whole: bool = False, next_s: float = NEXT_S) -> Handed:
        self.sequence += 1
        node, incarnation = self.identity.node, self.identity.incarnation
        said = node, node, incarnation, self.sequence, self.started, next_s, whole, entries
        return Handed(codec.seal([codec.encode(NodeRoll(*said))], TOPIC))


class Here:
    """Our node's roster, and one chart that hears all topics."""

    def __init__(self, extended: tuple[type[NodeRoll], ...] = ()) -> None:
        reading = Codec(
            "roll", KeyRing([KEY]), NodeRoll, max_frame_bytes=FRAME_LIMIT, extended=extended
        )
        network = Network("roll", reading, Observer(), frame_events=3, frame_bytes=1_000)
        self.whole_since: float | None = 0.0
        self.looks = 0
        self.roster = Roster(network, OURS, whole_since=self._look)
        self.told = Fifo()
        self.roster.subscribe("c", ("#",), self.told.post)

    def _look(self) -> float | None:
        self.looks += 1
        return self.whole_since

    def hears(self, *deliveries: Handed) -> None:
        for delivery in deliveries:
            self.roster.receive(delivery)
            assert (delivery.acks, delivery.rejects) == (1, 0)


@pytest.fixture
def here() -> Iterator[Here]:
    made = Here()
    yield made
    made.roster.stop(5)


def alive(chart: str, topic: str = "plant") -> RollEntry:
    return RollEntry(chart, topic, "alive")


def died(chart: str) -> RollEntry:
    return RollEntry(chart, "plant", "died")


def stopped(chart: str) -> RollEntry:
    return RollEntry(chart, "plant", "stopped")


def up(chart: str, node: str = THEIRS.node) -> tuple[str, object]:
    return CHART_UP, ChartChange(node, chart, "alive")


def down(chart: str, reason: str, node: str = THEIRS.node) -> tuple[str, object]:
    return CHART_DOWN, ChartChange(node, chart, reason)


def test_what_becomes_of_a_chart_is_told_once(here: Here) -> None:
    there = Elsewhere()
    for word in (alive, alive, died, died, stopped, alive, stopped, stopped):
        here.hears(there.roll(word("pump")))
    assert here.told == [up("pump"), down("pump", "died"), up("pump"), down("pump", "stopped")]


def test_a_word_that_was_lost_is_made_good_by_the_next_whole_roll(here: Here) -> None:
    there = Elsewhere()
    here.hears(there.roll(alive("pump"), alive("valve"), whole=True))
    here.hears(there.roll(died("valve"), alive("tank"), whole=True))
    assert here.told == [
        *(up("pump"), up("valve")),
        *(down("pump", "stopped"), down("valve", "died"), up("tank")),
    ]


def test_a_chart_that_was_not_known_alive_is_not_told_as_gone(here: Here) -> None:
    here.hears(Elsewhere().roll(died("pump"), whole=True))
    assert here.told == []


def test_charts_of_one_name_on_two_nodes_are_two(here: Here) -> None:
    one, two = Elsewhere(Identity("one", "1")), Elsewhere(Identity("two", "2"))
    here.hears(one.roll(alive("pump")), two.roll(alive("pump")), one.roll(stopped("pump")))
    assert here.told == [up("pump", "one"), up("pump", "two"), down("pump", "stopped", "one")]


def test_the_charts_of_the_own_node_are_none_of_others(here: Here) -> None:
    here.hears(Elsewhere(OURS).roll(alive("pump")))
    assert here.told == []


def test_a_chart_is_told_of_the_topics_that_it_hears_and_no_others(here: Here) -> None:
    north = Fifo()
    here.roster.subscribe("north", ("plant.north.#", "coast.north"), north.post)
    there = Elsewhere()
    here.hears(there.roll(alive("pump", "plant.north.pump"), alive("valve", "plant.south")))
    here.hears(there.roll(alive("tide", "coast.north")))
    here.hears(there.roll(stopped("pump"), stopped("valve")))
    assert north == [up("pump"), up("tide"), down("pump", "stopped")]
    assert len(here.told) == 5


def test_a_chart_that_starts_is_told_of_those_that_are_alive_and_one_that_ended_of_none(
    here: Here,
) -> None:
    there = Elsewhere()
    here.hears(there.roll(alive("pump"), alive("valve"), alive("tank"), died("tank")))
    late = Fifo()
    here.roster.subscribe("late", ("#",), late.post)
    here.roster.unsubscribe("c")
    here.hears(there.roll(stopped("valve")))
    assert late == [up("pump"), up("valve"), down("valve", "stopped")]
    assert down("valve", "stopped") not in here.told


# Silence


def test_a_node_that_is_not_heard_is_silent_and_there_again_when_it_is(here: Here) -> None:
    there, other = Elsewhere(), Elsewhere(Identity("other", "0ther"))
    here.hears(there.roll(alive("pump"), alive("valve")))
    here.hears(other.roll(alive("tank"), next_s=NEXT_S * 100))
    heard = time.monotonic()
    told = list(here.told)
    # Not before its time
    here.roster.look(heard + SILENT_AFTER * NEXT_S - 2)
    assert here.told == told
    here.roster.look(heard + SILENT_AFTER * NEXT_S + 0.1)
    assert here.told == [*told, down("pump", "silent"), down("valve", "silent")]
    # Once
    here.roster.look(heard + SILENT_AFTER * NEXT_S + 9)
    here.hears(there.roll(alive("pump"), whole=True))
    assert here.told[5:] == [up("pump")]


def test_a_time_in_which_this_node_could_not_hear_is_no_silence(here: Here) -> None:
    here.hears(Elsewhere().roll(alive("pump")))
    later = time.monotonic() + 1_000
    # Given that it is cut off, and then connected again
    here.whole_since = None
    here.roster.look(later)
    here.whole_since = later
    here.roster.look(later + SILENT_AFTER * NEXT_S)
    assert here.told == [up("pump")]
    # When nothing comes in its time after that
    here.roster.look(later + SILENT_AFTER * NEXT_S + 1)
    assert here.told == [up("pump"), down("pump", "silent")]


def test_its_thread_finds_the_silence_and_ends_with_it(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosters, "LOOK_EVERY_S", 0.05)
    here.roster.start()
    here.hears(Elsewhere().roll(alive("pump"), next_s=0.1))
    wait_until(lambda: here.told == [up("pump"), down("pump", "silent")])
    here.roster.stop(5)
    assert all(thread.name != "mesh-here-roster" for thread in threading.enumerate())


def test_a_process_that_stood_still_itself_takes_no_other_for_silent(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that each look comes far too late
    monkeypatch.setattr(rosters, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(rosters, "_HELD_UP_S", 0.01)
    here.roster.start()
    here.hears(Elsewhere().roll(alive("pump"), next_s=0.1))
    # When many times as long has passed as a silence takes
    wait_until(lambda: here.looks > 30)
    assert here.told == [up("pump")]


# Processes of one node name


def test_the_next_process_of_a_node_takes_the_place_of_the_one_before(here: Here) -> None:
    first = Elsewhere(Identity("there", "1"), started=1_000.0)
    second = Elsewhere(Identity("there", "2"), started=2_000.0)
    here.hears(first.roll(alive("pump"), alive("valve")), second.roll(alive("pump")))
    assert here.told[2:] == [down("pump", "silent"), down("valve", "silent"), up("pump")]


def test_of_two_processes_of_one_name_the_one_that_began_last_is_told(here: Here) -> None:
    first = Elsewhere(Identity("there", "1"), started=1_000.0)
    second = Elsewhere(Identity("there", "2"), started=2_000.0)
    here.hears(first.roll(alive("pump")), second.roll(alive("pump")))
    told = list(here.told)
    # Though both go on
    for _ in range(3):
        here.hears(first.roll(alive("pump"), whole=True), second.roll(alive("pump"), whole=True))
    assert here.told == told
    # And the other one when that has ended
    here.hears(second.roll(stopped("pump")), first.roll(alive("pump"), whole=True))
    assert here.told == [*told, down("pump", "stopped"), up("pump")]


# Strangers, and too much


def test_what_is_replayed_is_not_believed_even_of_a_process_that_has_ended(here: Here) -> None:
    there = Elsewhere()
    said = [there.roll(alive("pump")), there.roll(alive("pump"), whole=True)]
    here.hears(*said)
    here.hears(there.roll(stopped("pump")))
    for delivery in said:
        here.hears(Handed(delivery.body))
    assert here.told == [up("pump"), down("pump", "stopped")]


def test_without_the_key_nothing_is_taken(here: Here) -> None:
    other = Codec("roll", KeyRing([generate_key()]), NodeRoll, max_frame_bytes=FRAME_LIMIT)
    roll = NodeRoll("there", "there", "1", 1, 1.0, NEXT_S, True, (alive("pump"),))
    delivery = Handed(other.seal([other.encode(roll)], TOPIC))
    here.roster.receive(delivery)
    assert (delivery.acks, delivery.rejects, here.told) == (0, 1, [])


def test_it_knows_so_many_charts_and_says_when_there_are_more(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rosters, "MOST_CHARTS", 3)
    one, two = Elsewhere(Identity("one", "1")), Elsewhere(Identity("two", "2"))
    here.hears(one.roll(alive("a"), alive("b")), two.roll(alive("a"), alive("b"), whole=True))
    assert here.told == [up("a", "one"), up("b", "one"), up("a", "two")]
    [record] = caplog.records
    assert "3 charts are known to be alive" in record.getMessage()
    # What leaves makes room
    here.hears(one.roll(stopped("a")), two.roll(alive("a"), alive("b"), whole=True))
    assert here.told[3:] == [down("a", "stopped", "one"), up("b", "two")]


def test_so_many_processes_are_remembered(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosters, "_MOST_HEARD", 10)
    for number in range(100):
        here.hears(Elsewhere(Identity(f"{number}", f"{number}")).roll(died("pump")))
    assert len(here.roster._heard) == 10
    assert here.roster._processes == {}


# Threads


def test_a_chart_that_ends_because_of_what_it_is_told_holds_nothing_up(here: Here) -> None:
    there = Elsewhere()

    class Ends(Fifo):
        def post(self, signal: str, payload: object) -> None:
            super().post(signal, payload)
            # On another thread too, which would wait for a lock that is held here
            thread = threading.Thread(target=here.roster.unsubscribe, args=("ends",))
            thread.start()
            thread.join(10)
            assert not thread.is_alive()

    ends = Ends()
    here.roster.subscribe("ends", ("#",), ends.post)
    here.hears(there.roll(alive("pump"), alive("valve")))
    assert ends == [up("pump")]
    assert here.told == [up("pump"), up("valve")]


def test_a_chart_that_starts_while_others_come_is_told_of_each_in_order() -> None:
    for _ in range(100):
        here, there, together = Here(), Elsewhere(), threading.Barrier(2)
        rolls = [there.roll(alive("pump")), there.roll(died("pump")), there.roll(alive("pump"))]

        def come(
            here: Here = here,
            rolls: list[Handed] = rolls,
            together: threading.Barrier = together,
        ) -> None:
            together.wait(5)
            here.hears(*rolls)

        thread, late = threading.Thread(target=come), Fifo()
        thread.start()
        together.wait(5)
        here.roster.subscribe("late", ("#",), late.post)
        thread.join(5)
        # The rest of what is due another thread may still post
        wait_until(lambda late=late: late and late[-1] == up("pump"))
        assert late in (
            [up("pump")],
            [up("pump"), down("pump", "died"), up("pump")],
        )


# Groups


def grouped(elsewhere: Elsewhere, *entries: RollEntry, group: str = "g") -> Handed:
    extended = (KeyedRoll, GroupedRoll)
    codec = Codec("roll", KeyRing([KEY]), NodeRoll, max_frame_bytes=FRAME_LIMIT, extended=extended)
    elsewhere.sequence += 1
    node, incarnation = elsewhere.identity.node, elsewhere.identity.incarnation
    said = node, node, incarnation, elsewhere.sequence, elsewhere.started, NEXT_S, False, entries
    roll = GroupedRoll(*said, groups=tuple((each.name, group) for each in entries))
    return Handed(codec.seal([codec.encode(roll)], TOPIC))


def test_it_knows_which_nodes_are_in_a_group_as_long_as_their_charts_live() -> None:
    here = Here(extended=(KeyedRoll, GroupedRoll))
    there = Elsewhere()
    assert here.roster.members("g") == frozenset()

    here.hears(grouped(there, RollEntry("till", "t", "alive")))
    assert here.roster.members("g") == {THEIRS.node}
    assert here.roster.members("another") == frozenset()

    here.hears(there.roll(RollEntry("till", "t", "died")))
    assert here.roster.members("g") == frozenset()


def test_a_node_that_is_silent_is_in_no_group() -> None:
    here = Here(extended=(KeyedRoll, GroupedRoll))
    here.hears(grouped(Elsewhere(), RollEntry("till", "t", "alive")))

    here.roster.look(time.monotonic() + SILENT_AFTER * NEXT_S + 1)

    assert here.roster.members("g") == frozenset()
