"""The roster: which charts of other nodes are alive, told to charts that hear them and asked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from miros_mesh.address import hears
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.feed import Feed
from miros_mesh.networks.network import Network
from miros_mesh.node.peer_signals import Post
from miros_mesh.signals import ALIVE, CHART_DOWN, CHART_UP, SILENT, ChartChange
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.wire.envelope import GroupedRoll, NodeRoll, RollEntry
from miros_mesh.wire.identity import Identity

MOST_CHARTS: Final = 10_000
"""Of so many charts it knows that they are alive; a node tells of a thousand at most."""
SILENT_AFTER: Final = 2.5
"""A node is silent after so many of its intervals: two rolls are missing, and the next is late."""
LOOK_EVERY_S: Final = 1.0
# A look that is so late was held up itself, and with it what came meanwhile.
_HELD_UP_S: Final = 3.0
# Of processes that have ended, too: what they have said is not believed again.
_MOST_HEARD: Final = 10_000


class _Listener(NamedTuple):
    """A chart of this node, and what it hears."""

    chart: str
    patterns: tuple[str, ...]
    post: Post


class _Told(NamedTuple):
    """A signal on its way to a chart."""

    listener: _Listener
    signal: str
    change: ChartChange


@dataclass
class _Process:
    """What is known of a node: its newest process."""

    node: str
    incarnation: str
    started: float
    heard: float = 0.0
    silent_after_s: float = 0.0
    charts: dict[str, str] = field(default_factory=dict)
    """Those alive, each with the topic that it sends under."""
    groups: dict[str, str] = field(default_factory=dict)
    """Of those that share work by keys, the queue of the group."""


class Roster:
    """Hears the rolls of other nodes, and posts `CHART_UP` and `CHART_DOWN`. Thread-safe.

    A chart is told of those whose topic it hears: of each that is alive when it starts, then of
    each that comes or goes, in this order. `whole_since` is the (monotonic) time from which this
    node can hear others, None while it cannot: such a time is no silence of theirs.
    """

    def __init__(
        self,
        network: Network[NodeRoll],
        identity: Identity,
        *,
        whole_since: Callable[[], float | None],
    ) -> None:
        self._network = network
        self._freshness = network.freshness()
        self._identity = identity
        self._whole_since = whole_since
        # Guards all that follows. Nothing is called under it: what is to be told stands in `_due`.
        self._lock = threading.Lock()
        self._listeners: dict[str, _Listener] = {}
        self._processes: dict[str, _Process] = {}
        """By node; of those alone that have a chart alive."""
        self._amount = 0
        """How many charts they have together."""
        self._heard: OrderedDict[str, int] = OrderedDict()
        """The last number of each process, the one that spoke last at the end."""
        self._members: dict[str, frozenset[str]] = {}
        """What was asked for of the above, until it changes."""
        self._due: deque[_Told] = deque()
        self._feed = Feed(lambda: bool(self._due), self._post)
        self._wake = threading.Event()
        self._thread = OwnedThread(f"mesh-{identity.node}-roster", self._run, self._wake.set)

    def start(self) -> None:
        """Start the thread that looks for silence."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell nothing more, and end the thread; waits for it `timeout_s` at most."""
        with self._lock:
            self._listeners.clear()
        self._thread.stop(timeout_s)

    def subscribe(self, chart: str, patterns: tuple[str, ...], post: Post) -> None:
        """Tell a chart that has started and hears these topics; first of those alive already."""
        with self._lock:
            listener = self._listeners[chart] = _Listener(chart, patterns, post)
            for process in self._processes.values():
                for name, topic in process.charts.items():
                    self._tell(listener, topic, CHART_UP, ChartChange(process.node, name, ALIVE))
        self._feed.run()

    def unsubscribe(self, chart: str) -> None:
        """Tell a chart nothing more, which ends."""
        with self._lock:
            self._listeners.pop(chart, None)

    def members(self, group: str) -> frozenset[str]:
        """Return the other nodes that have a chart alive in the group of this queue."""
        with self._lock:
            if group not in self._members:
                self._members[group] = frozenset(
                    process.node
                    for process in self._processes.values()
                    if group in process.groups.values()
                )
            return self._members[group]

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the queue of rolls; called on the subscriber's thread."""
        rolls, left_out = self._network.open(delivery, self._freshness).messages, 0
        with self._lock:
            now, asleep = time.monotonic(), not self._processes
            for roll in rolls:
                if roll.incarnation != self._identity.incarnation and self._is_new(roll):
                    left_out += self._hear(roll, now)
        self._feed.run()
        if asleep:
            # The thread sleeps while it knows of no node.
            self._wake.set()
        if left_out:
            self._network.complain(
                "roster_full", f"{MOST_CHARTS} charts are known to be alive; no more are told of"
            )
        if rolls:
            delivery.ack()

    def look(self, now: float) -> None:
        """Tell of the charts of nodes that are silent at this (monotonic) time."""
        since = self._whole_since()
        if since is None:
            return
        with self._lock:
            for process in list(self._processes.values()):
                if now - max(process.heard, since) > process.silent_after_s:
                    self._lost(process)
        self._feed.run()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            began = time.monotonic()
            self._wake.wait(LOOK_EVERY_S if self._processes else None)
            self._wake.clear()
            now = time.monotonic()
            if self._processes and now - began > _HELD_UP_S:
                self._excuse(now)
            self.look(now)

    def _excuse(self, now: float) -> None:
        """Begin anew to wait for each node: this process stood still, and could hear none."""
        with self._lock:
            for process in self._processes.values():
                process.heard = now

    # With the lock held, all that follows but the last.

    def _is_new(self, roll: NodeRoll) -> bool:
        """Whether it is later than all of its process: a stranger can replay what was sealed."""
        if roll.sequence <= self._heard.get(roll.incarnation, 0):
            return False
        self._heard[roll.incarnation] = roll.sequence
        self._heard.move_to_end(roll.incarnation)
        if len(self._heard) > _MOST_HEARD:
            self._heard.popitem(last=False)
        return True

    def _hear(self, roll: NodeRoll, now: float) -> int:
        """Note what a node says; return how many charts were left out."""
        process = self._processes.get(roll.node)
        if process and process.incarnation != roll.incarnation:
            # At one broker no two live processes have one name. At two they may by mistake: the one
            # that began last is told of, and the other one after its end.
            if roll.started < process.started:
                return 0
            self._lost(process)
            process = None
        if process is None:
            process = _Process(roll.node, roll.incarnation, roll.started)
            self._processes[roll.node] = process
        process.heard, process.silent_after_s = now, SILENT_AFTER * roll.next_s
        if roll.whole:
            listed = {each.name for each in roll.charts}
            for chart in [each for each in process.charts if each not in listed]:
                self._down(process, chart, "stopped")
        groups = dict(roll.groups) if isinstance(roll, GroupedRoll) else {}
        left_out = sum(not self._note(process, each, groups) for each in roll.charts)
        if not process.charts:
            del self._processes[roll.node]
        return left_out

    def _note(self, process: _Process, entry: RollEntry, groups: Mapping[str, str]) -> bool:
        """Note what became of a chart; return False when there is no room for it."""
        if entry.state != "alive":
            self._down(process, entry.name, entry.state)
            return True
        if entry.name not in process.charts:
            if self._amount >= MOST_CHARTS:
                return False
            self._amount += 1
            process.charts[entry.name] = entry.topic
            self._tell_all(entry.topic, CHART_UP, ChartChange(process.node, entry.name, ALIVE))
        # Also of one that was known: that it has left one and come into another may be lost.
        group = groups.get(entry.name, "")
        if group != process.groups.get(entry.name, ""):
            process.groups[entry.name] = group
            self._members.clear()
        return True

    def _lost(self, process: _Process) -> None:
        for chart in list(process.charts):
            self._down(process, chart, SILENT)
        del self._processes[process.node]

    def _down(self, process: _Process, chart: str, reason: str) -> None:
        """Tell of a chart that is alive no more; of one that never was there is nothing to tell."""
        topic = process.charts.pop(chart, None)
        if process.groups.pop(chart, None):
            self._members.clear()
        if topic is not None:
            self._amount -= 1
            self._tell_all(topic, CHART_DOWN, ChartChange(process.node, chart, reason))

    def _tell_all(self, topic: str, signal: str, change: ChartChange) -> None:
        for listener in self._listeners.values():
            self._tell(listener, topic, signal, change)

    def _tell(self, listener: _Listener, topic: str, signal: str, change: ChartChange) -> None:
        if hears(listener.patterns, topic):
            self._due.append(_Told(listener, signal, change))

    def _post(self) -> None:
        """Post what is due, in its order, and without the lock: a chart may be stopped by it."""
        while True:
            with self._lock:
                if not self._due:
                    return
                told = self._due.popleft()
                gone = self._listeners.get(told.listener.chart) is not told.listener
            if not gone:
                told.listener.post(told.signal, told.change)
