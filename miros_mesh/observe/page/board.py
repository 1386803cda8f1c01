"""The board behind the page: listens to the mesh, and keeps what is shown of it, in bounds."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Final, Protocol, Self

from miros_mesh.errors import LifecycleError, UndecryptableFrameError
from miros_mesh.health import Outage
from miros_mesh.observe.page.charts import ChartSeen
from miros_mesh.observe.page.flows import Flows, Pace, Place
from miros_mesh.observe.page.moments import Moment, Moments
from miros_mesh.observe.page.picture import picture
from miros_mesh.observe.page.troubles import Own
from miros_mesh.observe.page.wanted import Wanted
from miros_mesh.observe.sequence.causes import Chart
from miros_mesh.observe.snoop.selection import signal_of, states_of
from miros_mesh.observe.snoop.views import NodeView
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.wire.envelope import RollEntry, SnoopRecord

MAX_CHARTS: Final = 1_000
MAX_INCARNATIONS: Final = 2_000
# Taken at once under the lock: some milliseconds of work.
_BATCH: Final = 500
_PATIENCE_S: Final = 0.25
_STOP_LIMIT_S: Final = 5.0
_LINES: Final = 60
UNREAD_WINDOW_S: Final = 60
# A node without a snoop stream tells of itself every ten seconds.
UNREAD_LASTS_S: Final = 11


class Part(Protocol):
    """What listens to the mesh for the board."""

    def start(self) -> object:
        """Connect; raises the `LinkError` that prevents it."""

    def stop(self) -> object:
        """Disconnect; a second call does nothing."""


class Statuses(Part, Protocol):
    """How the nodes are, as `Overview` keeps it."""

    @property
    def nodes(self) -> Sequence[NodeView]: ...

    @property
    def refused(self) -> Mapping[str, int]: ...

    @property
    def outage(self) -> tuple[str, Outage] | None: ...


class Lines(Protocol):
    """The last lines of a chart, as a `ForeignChart` keeps them."""

    def trace(self) -> str:
        """Return its transitions, a line each."""

    def spy(self) -> Sequence[str]:
        """Return its steps, one after the other."""


class Records(Part, Protocol):
    """What charts do, as a `SnoopMonitor` shows it."""

    @property
    def charts(self) -> Mapping[Place, Lines]: ...

    @property
    def refused(self) -> Mapping[str, int]: ...

    def watch(self) -> Watch:
        """Return a new reader of what comes from now on."""


class RollCall(Part, Protocol):
    """Which charts there are, as `Rolls` keeps it."""

    @property
    def undecryptable(self) -> int: ...

    def nodes(self) -> Mapping[str, tuple[str, Mapping[str, RollEntry]]]:
        """Return by node its incarnation and its charts."""


class Board:
    """Joins the mesh without a chart, and keeps what a page shows; all of it is bounded.

        with Board(overview, monitor, rolls) as board:
            print(board.mesh()["troubles"])

    All but `start` and `stop` may be called from any thread. What comes faster than it can be
    counted is missed, counted as such, and told.
    """

    def __init__(self, overview: Statuses, monitor: Records, rolls: RollCall) -> None:
        """Take what listens, which it starts and stops. Connects to nothing."""
        self._overview, self._monitor, self._rolls = overview, monitor, rolls
        self._began = False
        self._watch = self._monitor.watch()
        self._thread = OwnedThread("mesh-page-reader", self._run)
        # Guards all below. Nothing waits under it.
        self._changing = threading.Lock()
        self._charts: OrderedDict[Place, ChartSeen] = OrderedDict()
        self._flows = Flows()
        self._moments = Moments()
        # The nodes of processes: the id of an event names the process alone.
        self._nodes: OrderedDict[str, str] = OrderedDict()
        self._pace = Pace()
        self._missed = 0
        # Frames of another key: those that were counted, and in which seconds.
        self._unread, self._unread_pace = 0, Pace(UNREAD_WINDOW_S)

    def start(self) -> Self:
        """Connect and listen.

        Raises the `LinkError` that prevents it, or `LifecycleError` the second time.
        """
        if self._began:
            raise LifecycleError("a Board starts once; make a new one")
        self._began = True
        try:
            self._overview.start()
            self._rolls.start()
            self._monitor.start()
            self._thread.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Disconnect; what was kept can still be read. A second call does nothing."""
        self._monitor.stop()
        self._rolls.stop()
        self._overview.stop()
        # The watch has ended with the monitor, and so the thread ends by itself.
        self._thread.stop(_STOP_LIMIT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    def mesh(self) -> dict[str, Any]:
        """Return nodes, brokers, charts, flows and troubles, in types of JSON."""
        nodes, rolls = self._overview.nodes, self._rolls.nodes()
        refused = Counter(self._monitor.refused) + Counter(self._overview.refused)
        outage, now = self._overview.outage, time.monotonic()
        with self._changing:
            for name, (incarnation, _) in rolls.items():
                self._name(incarnation, name)
            for node in nodes:
                self._name(node.incarnation, node.name)
            unread = self._unread_pace.lately(now, UNREAD_LASTS_S)
            return picture(
                Own(outage, unread, UNREAD_WINDOW_S),
                nodes,
                {name: charts for name, (_, charts) in rolls.items()},
                {place: seen.state for place, seen in self._charts.items()},
                self._flows,
            ) | {
                "at": time.time(),
                "records_per_s": self._pace.per_s(now),
                "missed": self._missed,
                "refused": refused.total() + self._rolls.undecryptable,
                "moments": self._moments.total,
                "kept": len(self._moments),
            }

    def chart(self, node: str, chart: str) -> dict[str, Any] | None:
        """Return what was seen of one chart and its last lines; None if nothing was."""
        foreign = self._monitor.charts.get((node, chart))
        lines = {
            "trace": foreign.trace().strip("\n").split("\n")[-_LINES:] if foreign else [],
            "spy": list(foreign.spy())[-_LINES:] if foreign else [],
        }
        with self._changing:
            seen = self._charts.get((node, chart))
            if seen is None:
                return None
            return {"node": node, "chart": chart, **seen.as_json(), **lines}

    @property
    def moments(self) -> int:
        """How many moments were told so far: where a reader begins that wants what comes now."""
        with self._changing:
            return self._moments.total

    def moments_since(self, total: int, most: int) -> tuple[list[dict[str, Any]], int, int]:
        """Return the moments told since, `most` at most, how many are left out, and the new total.

        Those that are left out are at equal distances among the others: a sample.
        """
        with self._changing:
            moments, left_out = self._moments.since(total, most)
            return [self._moment(each) for each in moments], left_out, self._moments.total

    def moment(self, number: int) -> dict[str, Any] | None:
        """Return one moment with its chain of causes and its effects; None if it is forgotten."""
        with self._changing:
            moment = self._moments.get(number)
            if moment is None:
                return None
            effects = self._moments.effects(moment)
            return {
                "moment": self._moment(moment),
                "chain": [self._moment(each) for each in self._moments.chain(moment)],
                "effects": [self._moment(each) | {"distance": d} for d, each in effects],
            }

    def last(self, wanted: Wanted, most: int) -> list[dict[str, Any]]:
        """Return the newest moments that are wanted, `most` at most, the oldest first."""
        with self._changing:
            newest = list(islice(self._last(wanted), most))
            return [self._moment(each) for each in reversed(newest)]

    def records(self, wanted: Wanted) -> list[SnoopRecord]:
        """Return the records to draw a sequence diagram of what is wanted, with their causes."""
        with self._changing:
            moments = {each.number: each for each in self._last(wanted)}
            for each in list(moments.values()):
                cause = self._moments.cause_of(each)
                # One that made no transition is not drawn, and leads on to one that may be.
                while cause and cause.number not in moments and not cause.transition:
                    moments[cause.number] = cause
                    cause = self._moments.cause_of(cause)
            return [each.record for _, each in sorted(moments.items())]

    def _last(self, wanted: Wanted) -> Iterator[Moment]:
        """Yield what is wanted, the newest first."""
        since = time.time() - wanted.seconds
        for each in self._moments.newest():
            if each.record.time >= since and wanted.has(each.record):
                yield each

    def _run(self) -> None:
        watch = self._watch
        while not (watch.ended or self._thread.stopping.is_set()):
            self._count_unread()
            if (first := watch.get(_PATIENCE_S)) is not None:
                self._take([first, *watch.waiting(_BATCH)], watch)

    def _count_unread(self) -> None:
        reason = UndecryptableFrameError.reason
        counted = [each.refused.get(reason, 0) for each in (self._monitor, self._overview)]
        total = sum(counted) + self._rolls.undecryptable
        if came := total - self._unread:
            with self._changing:
                self._unread_pace.add(time.monotonic(), came)
            self._unread = total

    def _take(self, items: Sequence[SnoopRecord | SnoopGap], watch: Watch) -> None:
        now = time.monotonic()
        with self._changing:
            for item in items:
                if isinstance(item, SnoopGap):
                    self._chart(item.node, item.chart).missing += item.missing
                    self._missed += item.missing
                else:
                    self._note(item)
            self._pace.add(now, len(items))

    def _note(self, record: SnoopRecord) -> None:
        self._name(record.incarnation, record.node)
        self._chart(record.node, record.chart).note(record)
        moment = self._moments.note(record)
        if moment is None:
            return
        if moment.sender:
            receiver = record.node, record.chart
            self._flows.note(self._place(moment.sender), receiver, signal_of(record))
        for each in self._moments.met(moment):
            latency_s = self._moments.latency_s(each)
            if each.sender and latency_s is not None:
                receiver = each.record.node, each.record.chart
                self._flows.took(self._place(each.sender), receiver, latency_s)

    def _chart(self, node: str, chart: str) -> ChartSeen:
        seen = self._charts.get((node, chart))
        if seen is None:
            seen = self._charts[node, chart] = ChartSeen()
            if len(self._charts) > MAX_CHARTS:
                self._charts.popitem(last=False)
        self._charts.move_to_end((node, chart))
        return seen

    def _name(self, incarnation: str, node: str) -> None:
        if not incarnation:
            return
        if self._nodes.get(incarnation) != node:
            self._nodes[incarnation] = node
            if len(self._nodes) > MAX_INCARNATIONS:
                self._nodes.popitem(last=False)

    def _place(self, chart: Chart) -> Place:
        incarnation, name = chart
        return self._nodes.get(incarnation, ""), name

    def _moment(self, moment: Moment) -> dict[str, Any]:
        record, cause = moment.record, self._moments.cause_of(moment)
        states = [record.from_state or "", record.to_state or ""]
        return {
            "id": moment.number,
            "time": record.time,
            "at": [record.node, record.chart],
            "signal": signal_of(record),
            "from": states[0] if moment.transition else next(iter(states_of(record)), ""),
            "to": states[1] if moment.transition else "",
            "sender": list(self._place(moment.sender)) if moment.sender else None,
            "cause": cause.number if cause else None,
            "latency_s": self._moments.latency_s(moment),
            "event": record.event_id,
        }
