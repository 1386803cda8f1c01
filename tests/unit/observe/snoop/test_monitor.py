"""A monitor without a mesh: what it shows of the records that it is given."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh import SnoopGap, SnoopMonitor, SnoopRecord
from miros_mesh.observe.snoop.watch import Watch
from miros_mesh.testing.memory import MemoryMesh

LIMIT_S = 15.0


def read(watch: Watch, amount: int) -> list[SnoopRecord | SnoopGap]:
    items: list[SnoopRecord | SnoopGap] = []
    while len(items) < amount:
        item = watch.get(LIMIT_S)
        assert item is not None, f"only {items}"
        items.append(item)
    return items


def foreign(sequence: int, text: str = "", **facts: Any) -> SnoopRecord:
    given = {"node": "afar", "chart": "stranger", "incarnation": "1ncarn", "kind": "trace"}
    return SnoopRecord(
        **{**given, "time": 1.5, "text": text or f"step {sequence}", **facts}, sequence=sequence
    )


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"charts": "st*"}, [1, 2, 3]),
        ({"charts": "other"}, []),
        ({"nodes": ["afar", "near"]}, [1, 2, 3]),
        ({"nodes": "near"}, []),
        ({"kinds": "scribble"}, [3]),
        ({"signals": "open"}, [1]),
        ({"states": "b"}, [1, 2]),
        ({"states": "c", "signals": ["open", "shut"]}, [2]),
    ],
)
def test_a_monitor_shows_what_is_wanted_of_it(wanted: dict[str, Any], shown: list[int]) -> None:
    monitor = SnoopMonitor(MemoryMesh().config(), **wanted)
    items = monitor.replay(
        ("snoop_trace", record)
        for record in (
            foreign(1, signal="open", from_state="a", to_state="b"),
            foreign(2, signal="shut", from_state="b", to_state="c"),
            foreign(3, kind="scribble"),
        )
    )
    assert [item.sequence for item in items if isinstance(item, SnoopRecord)] == shown


def test_a_line_of_spy_is_found_by_its_signal_and_state() -> None:
    wanted = {"signals": "knock", "states": "closed"}
    monitor = SnoopMonitor(MemoryMesh().config(), **wanted)
    lines = ["START", "knock:closed", "knock:opened", "<- Queued:(0) Deferred:(0)"]
    records = [foreign(at, text, kind="spy") for at, text in enumerate(lines, 1)]
    items = monitor.replay(("snoop_spy", record) for record in records)
    assert [item.text for item in items if isinstance(item, SnoopRecord)] == ["knock:closed"]


def test_the_memory_of_a_monitor_is_bounded() -> None:
    monitor = SnoopMonitor(MemoryMesh().config(), max_charts=2)
    monitor.replay(("snoop_trace", foreign(n, chart="a")) for n in range(1, 2000))
    monitor.replay(("snoop_trace", foreign(1, chart=chart)) for chart in ("b", "c"))
    assert set(monitor.charts) == {("afar", "b"), ("afar", "c")}
    monitor.replay(("snoop_trace", foreign(n, chart="b")) for n in range(2, 2000))
    assert len(monitor.chart("b").trace().splitlines()) == 500


def test_a_slow_reader_gets_a_gap_of_its_own_and_the_others_everything() -> None:
    monitor = SnoopMonitor(MemoryMesh().config(), networks=["snoop_trace"], max_items=10)
    with monitor:
        slow, quick = monitor.watch(), monitor.watch()
        seen = []
        for number in range(1, 26):
            monitor.replay([("snoop_trace", foreign(number))])
            seen.append(quick.get(0))
        assert [i.sequence for i in seen if isinstance(i, SnoopRecord)] == list(range(1, 26))
        assert [i.sequence for i in read(slow, 10) if isinstance(i, SnoopRecord)] == [*range(1, 11)]
        gap = SnoopGap("snoop_trace", "afar", "stranger", "1ncarn", 15, "slow_reader")
        # The gap is told although nothing comes after it.
        assert slow.get(0) == gap
        assert slow.get(0) is None
        assert (slow.missed, quick.missed) == (15, 0)
