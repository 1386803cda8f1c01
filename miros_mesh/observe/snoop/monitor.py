"""One place for all charts: what every chart of the mesh does, without a chart of one's own."""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Literal, Self
from weakref import WeakSet

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LifecycleError, NotStartedError, SelectionError, UnknownChartError
from miros_mesh.networks.snoop.records import render
from miros_mesh.networks.streams import Admission, Streams
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.foreign import ForeignChart
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.observer import Observer
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

SnoopNetwork = Literal["snoop_trace", "snoop_spy"]
SNOOP_NETWORKS: tuple[SnoopNetwork, ...] = ("snoop_trace", "snoop_spy")
# What comes by them; of a chart that takes part in spy alone, scribbles as well.
_KINDS: Mapping[SnoopNetwork, tuple[str, ...]] = {
    "snoop_trace": ("trace", "scribble"),
    "snoop_spy": ("spy", "scribble"),
}
MAX_ITEMS = 20_000
MAX_CHARTS = 1_000
_TRACE_MARK = " [+t] "


class SnoopMonitor:
    """Joins the snoop networks and shows every chart that takes part in them.

        with SnoopMonitor(config) as monitor:
            for item in monitor:
                print(item)

    Each iteration is a reader of its own and sees all that comes after it began; so does each
    monitor. What is missing in a chart's stream is an item too: a `SnoopGap`.
    """

    def __init__(
        self,
        config: MeshConfig | None = None,
        *,
        networks: Iterable[SnoopNetwork] = SNOOP_NETWORKS,
        nodes: str | Iterable[str] = (),
        charts: str | Iterable[str] = (),
        kinds: str | Iterable[str] = (),
        signals: str | Iterable[str] = (),
        states: str | Iterable[str] = (),
        max_items: int = MAX_ITEMS,
        max_charts: int = MAX_CHARTS,
    ) -> None:
        """Make a monitor; `start` or `with` connects it.

        Args:
            config: where the mesh is, and its keys; None takes the environment's settings.
            networks: `snoop_trace`, `snoop_spy` or both.
            nodes: shell patterns (`*`, `?`) of the nodes to show; none: all. The others likewise.
            charts: of the charts' names.
            kinds: `trace`, `spy`, `scribble`.
            signals: of the signals' names.
            states: of the state that is left or entered.
            max_items: how many items wait for a reader; what it is too slow for becomes a gap.
            max_charts: how many charts are remembered; the longest silent are forgotten first.

        Raises:
            ConfigError: settings that cannot work; `SelectionError`, which is one, for a network
                that does not exist, or a kind that never comes by the networks.
        """
        self.networks = _known(networks)
        self.selection = Selection.of(
            nodes=nodes, charts=charts, kinds=kinds, signals=signals, states=states
        )
        _check(self.selection, self.networks)
        self._max_items = max_items
        self._max_charts = max_charts
        self._tally = _Tally()
        self._config = config or MeshConfig.from_env()
        self._listener = ListenerNode(self._config, "monitor", self._tally)
        self._node: Node | None = None
        self._began = self._ended = False
        self._streams: dict[str, Streams[SnoopRecord]] = {
            network: Streams(self._config.dedup_window) for network in self.networks
        }
        self._charts: OrderedDict[tuple[str, str], ForeignChart] = OrderedDict()
        self._watches: WeakSet[Watch] = WeakSet()
        self._taking = threading.Lock()

    def start(self) -> Self:
        """Connect and listen.

        Raises the `LinkError` that prevents it, or `LifecycleError` the second time.
        """
        if self._began:
            raise LifecycleError("a SnoopMonitor starts once; make a new one")
        self._began = True
        try:
            self._node = node = self._listener.enter(self.stop)
            for network in self.networks:
                snoop = node.trace if network == "snoop_trace" else node.spy
                node.watch(snoop, self._listener.name, partial(self._take, network))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Disconnect; every iteration ends after what waits for it. Again: does nothing."""
        node, self._node = self._node, None
        if node:
            self._listener.leave(node)
        with self._taking:
            self._ended = True
            for watch in list(self._watches):
                watch.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    def __iter__(self) -> Watch:
        if not self._began:
            raise NotStartedError("a SnoopMonitor is read after start(), or inside its with block")
        return self.watch()

    def watch(self, *, limit_s: float | None = None) -> Watch:
        """A new reader of what comes from now on; it ends with the monitor, or after `limit_s`.

        One that is made before `start` misses nothing, and has nothing until then.
        """
        watch = Watch(self._max_items)
        if limit_s is not None:
            watch.limit(limit_s)
        with self._taking:
            self._watches.add(watch)
            if self._ended:
                watch.close()
        return watch

    @property
    def charts(self) -> Mapping[tuple[str, str], ForeignChart]:
        """The charts seen so far by node and name, the longest silent first.

        Each is a miros `ForeignHsm`: `spy()` and `trace()` give its last 500 lines.
        """
        with self._taking:
            return dict(self._charts)

    def chart(self, name: str, *, node: str | None = None) -> ForeignChart:
        """A chart by its name; of several nodes' the one that spoke last.

        Raises `UnknownChartError` when no such chart has been seen.
        """
        charts = self.charts
        for known_node, known in reversed(list(charts)):
            if known == name and node in (None, known_node):
                return charts[known_node, known]
        seen = ", ".join(sorted({printable(chart) for _, chart in charts})) or "none yet"
        raise UnknownChartError(
            f"no record of a chart {name!r} has come; charts that were seen: {seen}"
        )

    @property
    def refused(self) -> Mapping[str, int]:
        """How many frames could not be read, by reason; `undecryptable`: under another key."""
        return dict(self._tally.refused)

    def replay(self, records: Iterable[tuple[str, SnoopRecord]]) -> list[SnoopRecord | SnoopGap]:
        """Take records of the past, each with its network; what a reader would have got of them.

        What then comes a second time is not shown again, and what is missing in between is a gap.
        """
        items: list[SnoopRecord | SnoopGap] = []
        for network, record in records:
            if network in self.networks:
                items += self._take(network, (record,))
        return items

    def _take(
        self, network: SnoopNetwork, records: Sequence[SnoopRecord]
    ) -> list[SnoopRecord | SnoopGap]:
        with self._taking:
            items = list(self._in_turn(network, records))
            for item in items:
                self._remember(network, item)
            for watch in list(self._watches):
                watch.take(network, items)
        return items

    def _in_turn(
        self, network: SnoopNetwork, records: Iterable[SnoopRecord]
    ) -> Iterator[SnoopRecord | SnoopGap]:
        """What is new and wanted of the records, and what is missing before them."""
        streams, selection = self._streams[network], self.selection
        for record in records:
            node, chart, incarnation = record.node, record.chart, record.incarnation
            sender = incarnation, chart
            verdict, items = streams.admit(sender, record.sequence, record, 0.0)
            if verdict is Admission.NEW and not items:
                # Nobody repairs a snoop stream: what is not here now has no reason to come.
                passed = streams.skip(sender, record.sequence - 1)
                items = passed.items
                if selection.has_sender(node, chart):
                    yield SnoopGap(network, node, chart, incarnation, passed.missing, "lost")
            yield from filter(selection.has, items)

    def _remember(self, network: SnoopNetwork, item: SnoopRecord | SnoopGap) -> None:
        chart = self._chart_of(item.node, item.chart)
        if isinstance(item, SnoopGap):
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
            if len(self._charts) > self._max_charts:
                self._charts.popitem(last=False)
        self._charts.move_to_end(key)
        return chart


class _Tally(Observer):
    """Counts the frames that the monitor cannot read."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if network in SNOOP_NETWORKS:
            self.refused[reason] += events


def _known(networks: Iterable[SnoopNetwork]) -> tuple[SnoopNetwork, ...]:
    given = tuple(networks)
    wrong = [each for each in given if each not in SNOOP_NETWORKS]
    if wrong or not given:
        raise SelectionError(
            (f"networks must be some of {', '.join(SNOOP_NETWORKS)}, and not {wrong or 'none'}",)
        )
    return given


def _check(selection: Selection, networks: Sequence[SnoopNetwork]) -> None:
    """Refuse patterns of kinds by which nothing would ever be shown."""
    every = dict.fromkeys(kind for kinds in _KINDS.values() for kind in kinds)
    problems = []
    for pattern in selection.kinds:
        fitting = set(fnmatch.filter(every, pattern))
        if not fitting:
            problems.append(f"no record is of kind {pattern!r}; kinds are {', '.join(every)}")
        elif fitting.isdisjoint(kind for network in networks for kind in _KINDS[network]):
            problems.append(f"no record of kind {pattern!r} comes by {' or '.join(networks)} alone")
    if problems:
        raise SelectionError(tuple(problems))
