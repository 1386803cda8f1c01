"""Charts of other processes, as a monitor remembers them."""

from __future__ import annotations

from typing import Any

from miros_mesh import SnoopGap, SnoopMonitor, SnoopRecord
from miros_mesh.observe.snoop.foreign import ForeignCharts
from miros_mesh.observe.snoop.networks import SNOOP_NETWORKS
from miros_mesh.testing.memory import MemoryMesh


def foreign(sequence: int, text: str = "", **facts: Any) -> SnoopRecord:
    given = {"node": "afar", "chart": "stranger", "incarnation": "1ncarn", "kind": "trace"}
    return SnoopRecord(
        **{**given, "time": 1.5, "text": text or f"step {sequence}", **facts}, sequence=sequence
    )


def test_what_a_foreign_chart_says_reaches_no_terminal_raw() -> None:
    monitor = SnoopMonitor(MemoryMesh().config())
    monitor.replay([("snoop_trace", foreign(1, "\033[2J", chart="\033[31mevil\n"))])
    monitor.replay([("snoop_spy", foreign(1, "\033[2J", kind="spy", chart="\033[31mevil\n"))])
    [chart] = monitor.charts.values()
    assert "\033" not in chart.trace()
    assert repr(chart) == r"<ForeignChart afar/\x1b[31mevil\n>"
    assert chart.trace().count("\n") == 1
    assert chart.spy() == [r"\x1b[2J"]


def test_a_gap_is_a_line_of_the_stream_that_misses_records() -> None:
    charts = ForeignCharts(10)
    for network in SNOOP_NETWORKS:
        charts.remember(network, SnoopGap(network, "afar", "door", "1ncarn", 3, "lost"))
    [chart] = charts.copy().values()
    assert chart.trace() == "# missing: 3\n"
    assert chart.spy() == ["# missing: 3"]


def test_the_longest_silent_chart_is_forgotten_first() -> None:
    charts = ForeignCharts(2)
    for name in ("a", "b", "a", "c"):
        charts.remember("snoop_trace", foreign(1, chart=name))
    assert list(charts.copy()) == [("afar", "a"), ("afar", "c")]
