"""Charts of other processes, as miros shows charts that are elsewhere."""

from __future__ import annotations

from collections import OrderedDict

from miros.foreign import ForeignHsm

from miros_mesh.networks.snoop.records import render
from miros_mesh.observe.snoop.networks import SnoopNetwork
from miros_mesh.observe.snoop.watch import SnoopGap
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

_TRACE_MARK = " [+t] "


class ForeignChart(ForeignHsm):
    """A miros `ForeignHsm` whose trace can be read while another thread adds to it."""

    def __init__(self, node: str, name: str) -> None:
        # It makes two deques that keep the last 500 lines each; a full one drops its first in the
        # same step.
        super().__init__()
        self._place = printable(f"{node}/{name}")

    def __repr__(self) -> str:
        return f"<ForeignChart {self._place}>"

    def trace(self) -> str:
        """Return its last lines of trace, as miros writes them."""
        # A copy, made in one step: a deque may not change while it is iterated over.
        return "".join(f"{line}\n" for line in tuple(self.foreign.trace))


class ForeignCharts:
    """The charts that were seen, `limit` at most; the longest silent are forgotten first.

    Not thread-safe: the monitor calls it under its lock.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By node and name, the longest silent first.
        self._charts: OrderedDict[tuple[str, str], ForeignChart] = OrderedDict()

    def copy(self) -> dict[tuple[str, str], ForeignChart]:
        """Return the charts by node and name, the longest silent first."""
        # A copy, which the caller may iterate over without the monitor's lock. The charts in it are
        # live.
        return dict(self._charts)

    def remember(self, network: SnoopNetwork, item: SnoopRecord | SnoopGap) -> None:
        """Add a record, or a note of those that are missing, to the lines of its chart."""
        chart = self._chart_of(item.node, item.chart)
        if isinstance(item, SnoopGap):
            # Marked as `render` marks a scribble, so that it is not taken for a step.
            line = f"# missing: {item.missing}"
            (chart.append_to_spy if network == "snoop_spy" else chart.append_to_trace)(line)
        elif item.kind == "spy":
            chart.append_to_spy(printable(item.text))
        else:
            # A scribble is a line of trace, whichever network brought it.
            chart.append_to_trace(render(item).removeprefix(_TRACE_MARK))

    def _chart_of(self, node: str, name: str) -> ForeignChart:
        key = node, name
        chart = self._charts.get(key)
        if chart is None:
            chart = self._charts[key] = ForeignChart(node, name)
            if len(self._charts) > self._limit:
                # Never the new one, which stands last. A reader that holds the forgotten one keeps
                # what it has.
                self._charts.popitem(last=False)
        self._charts.move_to_end(key)
        return chart
