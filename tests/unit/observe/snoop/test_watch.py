"""A reader's queue: bounded, with a gap behind what did not fit in."""

from __future__ import annotations

import threading

from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.wire.envelope import SnoopRecord
from support.sealed import record
from support.waiting import wait_until


def taken(watch: Watch) -> list[int | SnoopGap]:
    items = watch.waiting(100)
    return [item.sequence if isinstance(item, SnoopRecord) else item for item in items]


def of(sequence: int, chart: str = "door") -> SnoopRecord:
    return record(chart=chart, sequence=sequence)


def too_slow(missing: int, chart: str = "door") -> SnoopGap:
    place = record(chart=chart)
    return SnoopGap("snoop_trace", place.node, chart, place.incarnation, missing, "slow_reader")


def test_what_does_not_fit_in_is_a_gap_for_each_chart() -> None:
    watch = Watch(2)
    watch.take("snoop_trace", [of(1), of(2), of(3), of(4), of(1, "gate")])
    assert watch.missed == 3
    assert taken(watch) == [1, 2, too_slow(2), too_slow(1, "gate")]


def test_a_gap_stands_before_what_comes_later() -> None:
    watch = Watch(1)
    watch.take("snoop_trace", [of(1), of(2)])
    assert watch.get() == of(1)
    watch.take("snoop_trace", [of(3)])
    assert taken(watch) == [too_slow(1), 3]


def test_a_gap_that_does_not_fit_in_counts_what_it_stands_for() -> None:
    watch = Watch(0)
    lost = SnoopGap("snoop_trace", "a", "door", "1", 7, "lost")
    watch.take("snoop_trace", [lost, lost])
    assert watch.missed == 14


def test_a_reader_that_waits_is_woken_by_an_item_and_by_the_end() -> None:
    watch, read = Watch(10), list[SnoopRecord | SnoopGap]()
    reader = threading.Thread(target=lambda: read.extend(watch))
    reader.start()
    watch.take("snoop_trace", [of(1)])
    wait_until(lambda: read == [of(1)])
    watch.close()
    reader.join(10)
    assert not reader.is_alive()


def test_what_waits_can_be_read_after_the_end_and_nothing_comes_in() -> None:
    watch = Watch(10)
    watch.take("snoop_trace", [of(1)])
    watch.close()
    watch.take("snoop_trace", [of(2)])
    assert not watch.ended
    assert taken(watch) == [1]
    assert watch.ended


def test_a_limit_ends_it() -> None:
    watch = Watch(10)
    watch.limit(0.01)
    assert list(watch) == []
    assert watch.ended
