"""What every chart of the mesh does, in one place that has no chart itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self
from weakref import WeakSet

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LifecycleError, NotStartedError, UnknownChartError
from miros_mesh.networks.ancestor import network as ancestors
from miros_mesh.networks.order.streams import Admission, Streams
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.foreign import ForeignChart, ForeignCharts
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observe.snoop.networks import SNOOP_NETWORKS, SnoopNetwork, check_kinds, known
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.observer import Observer
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

# Bounds the memory that a slow reader costs: a record has some hundred bytes.
MAX_ITEMS = 20_000
MAX_CHARTS = 1_000
# With `ancestors` a node shows the lines of their networks among the records of ours.
_SHOWN = frozenset({*SNOOP_NETWORKS, ancestors.TRACE.name, ancestors.SPY.name})


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
        self.networks = known(networks)
        self.selection = Selection.of(
            nodes=nodes, charts=charts, kinds=kinds, signals=signals, states=states
        )
        check_kinds(self.selection.kinds, self.networks)
        self._max_items = max_items
        self._tally = _Tally()
        self._config = config or MeshConfig.from_env()
        self._listener = ListenerNode(self._config, "monitor", self._tally)
        # This and `_began` are for the owner's thread alone, and for the end of the program.
        self._node: Node | None = None
        self._began = False
        # Guards all below, and keeps the items of one chart in their order for every watch. The
        # lock of a watch is taken while it is held, never the other way round.
        self._taking = threading.Lock()
        self._ended = False
        self._streams: dict[str, Streams[SnoopRecord]] = {
            network: Streams(self._config.dedup_window) for network in self.networks
        }
        self._charts = ForeignCharts(max_charts)
        # Weak, so that a reader which is given up takes no more items.
        self._watches: WeakSet[Watch] = WeakSet()

    def start(self) -> Self:
        """Connect and listen.

        Raises the `LinkError` that prevents it, or `LifecycleError` the second time.
        """
        if self._began:
            raise LifecycleError("a SnoopMonitor starts once; make a new one")
        self._began = True
        try:
            # The node may call `_take` from the first `watch` on, before this method returns.
            self._node = node = self._listener.enter(self.stop)
            for network in self.networks:
                snoop = node.trace if network == "snoop_trace" else node.spy
                node.watch(snoop, self._listener.name, partial(self._take, network))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Disconnect; each iteration ends after what waits for it. A second call does nothing."""
        # First the node, so that nothing comes any more, and then the end of the watches behind all
        # items. The lock is not held meanwhile: the node's thread may wait for it in `_take`, and
        # `leave` for that thread.
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
        """Return a new reader of what comes from now on; it ends with the monitor, or at `limit_s`.

        One that is made before `start` misses nothing, and gets nothing until then.
        """
        # Before other threads have the watch; its limit has no lock.
        watch = Watch(self._max_items)
        if limit_s is not None:
            watch.limit(limit_s)
        with self._taking:
            self._watches.add(watch)
            # Under the same lock as `stop`: the watch is in the set before `stop` looks, or sees
            # that it did.
            if self._ended:
                watch.close()
        return watch

    @property
    def charts(self) -> Mapping[tuple[str, str], ForeignChart]:
        """The charts seen so far by node and name, the longest silent first.

        Each is a miros `ForeignHsm`: `spy()` and `trace()` give its last 500 lines.
        """
        with self._taking:
            return self._charts.copy()

    def chart(self, name: str, *, node: str | None = None) -> ForeignChart:
        """Return a chart by its name; of those of several nodes the one that was heard last.

        Raises `UnknownChartError` when no such chart has been seen.
        """
        charts = self.charts
        # From the one that was heard last.
        for place, seen_name in reversed(list(charts)):
            if seen_name == name and node in (None, place):
                return charts[place, seen_name]
        seen = ", ".join(sorted({printable(chart) for _, chart in charts})) or "none yet"
        raise UnknownChartError(
            f"no record of a chart {name!r} has come; charts that were seen: {seen}"
        )

    @property
    def refused(self) -> Mapping[str, int]:
        """How many frames could not be read, by reason; `undecryptable`: under another key."""
        # A copy in one step of the interpreter: the node's thread may count meanwhile.
        return dict(self._tally.refused)

    def replay(self, records: Iterable[tuple[str, SnoopRecord]]) -> list[SnoopRecord | SnoopGap]:
        """Take records of the past, each with its network; return what a reader gets of them.

        A record that comes again later is not shown again, and what is missing in between is a gap.
        """
        items: list[SnoopRecord | SnoopGap] = []
        for network, record in records:
            # A file may hold more than this monitor watches.
            if network in self.networks:
                items += self._take(network, (record,))
        return items

    def _take(
        self, network: SnoopNetwork, records: Sequence[SnoopRecord]
    ) -> list[SnoopRecord | SnoopGap]:
        with self._taking:
            # Called on the node's thread that receives, and by `replay` on the owner's. No watch
            # may get a record twice or out of order, so the lock is held until all have it; nothing
            # waits under it.
            items = list(self._in_turn(network, records))
            for item in items:
                self._charts.remember(network, item)
            # A strong reference for the loop: the garbage collector may take one out of the set at
            # any time.
            for watch in list(self._watches):
                watch.take(network, items)
        return items

    def _in_turn(
        self, network: SnoopNetwork, records: Iterable[SnoopRecord]
    ) -> Iterator[SnoopRecord | SnoopGap]:
        """Yield what is new and wanted of the records, each after the gap before it."""
        streams, selection = self._streams[network], self.selection
        # Asking for nothing costs as much as the rest.
        takes_all = selection == Selection()
        for record in records:
            node, chart, incarnation = record.node, record.chart, record.incarnation
            # By incarnation and not by node: a node that was started again counts from 1.
            sender = incarnation, chart
            # The time does not matter: nothing here waits for it.
            admission, items = streams.admit(sender, record.sequence, record, 0.0)
            if admission is Admission.NEW and not items:
                # The stream holds the record back behind missing ones, which is of no use here: no
                # node is asked to send a snoop record again. One that comes late is shown late.
                passed = streams.skip(sender, [(1, record.sequence - 1)])
                items = passed.items
                # What is lost was of this sender; its kind, signal and state are not known.
                if selection.has_sender(node, chart):
                    yield SnoopGap(network, node, chart, incarnation, passed.missing, "lost")
            yield from items if takes_all else filter(selection.has, items)


class _Tally(Observer):
    """Counts the frames that the monitor cannot read."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        # Its node hears the network of repair too, which is not what is watched. Written on the
        # node's thread that receives, and read by any.
        if network in _SHOWN:
            self.refused[reason] += events
