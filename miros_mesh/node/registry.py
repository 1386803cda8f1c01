"""The nodes of this process: charts with equal settings share one."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ChartNameTakenError, StoppedError
from miros_mesh.report import StopReport
from miros_mesh.text import logger_of

logger = logger_of(__name__)


class Member(Protocol):
    """What the registry asks of a node: it has all its parts when it is made, and starts once."""

    @property
    def config(self) -> MeshConfig:
        """The settings that it was made of."""

    def start(self) -> None:
        """Connect. Raises what prevents it, and then leaves nothing running."""

    def break_off(self, chart: str) -> None:
        """Have the chart's `join` raise, if it waits for the broker."""

    def leave(self, chart: str, end_by: float) -> None:
        """Forget a chart, which is not delivered to any more.

        It has until that (monotonic) time for what it has left; 0 is the time that a stop has.
        """

    def report(self) -> StopReport:
        """Say what has become until now of the events of its charts."""

    def stop(self) -> StopReport:
        """End it; a call that was interrupted can be made again."""

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""


N = TypeVar("N", bound=Member)


@dataclass(frozen=True, eq=False)
class Ending:
    """How a chart is stopped from outside."""

    begin: Callable[[], object]
    """Returns at once; the chart finishes what it has begun."""
    stop: Callable[[], object]
    """The chart's own `stop`."""
    asked: Callable[[], bool] = lambda: False
    """Whether that was called."""


@dataclass(eq=False)
class _Place(Generic[N]):
    """What belongs to one value of the settings: its charts and their node.

    | `node` | `runs` | the node |
    | --- | --- | --- |
    | None | no | is not made yet, or failed to start: the next chart makes one |
    | set | no | starts, and can be seen: it is not ready, and a forked child abandons it |
    | set | yes | runs |
    """

    endings: dict[str, Ending] = field(default_factory=dict)
    node: N | None = None
    runs: bool = False
    starter: Ending | None = None
    """Of the chart that starts the node."""
    # Guards the three above, and is held while the node starts, for as long as that takes:
    # other charts of the same settings wait for it. Taken before the registry's lock or without it,
    # never inside.
    starting: threading.Lock = field(default_factory=threading.Lock)


class Registry(Generic[N]):
    """The nodes by their settings, and how their charts are stopped; `make` gives a new node."""

    def __init__(self, make: Callable[[MeshConfig], N]) -> None:
        self._make = make
        self._places: dict[MeshConfig, _Place[N]] = {}
        # Those whose stop has begun: it may be interrupted, and is then resumed at exit.
        self._stopping: set[N] = set()
        # The parent's, kept so that a forked child does not close what it has inherited.
        self._inherited: list[N] = []
        self._watching = False
        # Of charts on their way in; each thread adds and removes its own, so no lock.
        self._entering: set[object] = set()
        # Guards the fields above. Never held while a node starts, stops or talks to a broker.
        self._lock = threading.RLock()

    @property
    def live(self) -> tuple[N, ...]:
        """Those that run or start at this moment; never waits for one that starts."""
        # Without the lock: metrics and health ask at any moment, on threads of their own.
        return tuple(place.node for place in list(self._places.values()) if place.node)

    @property
    def joining(self) -> bool:
        """Whether a chart is on its way in, and does not hear yet; never waits."""
        return bool(self._entering)

    @contextmanager
    def entrance(self) -> Iterator[None]:
        """Say by `joining` that a chart is on its way in."""
        mark = object()
        self._entering.add(mark)
        try:
            yield
        finally:
            self._entering.discard(mark)

    def enter(self, config: MeshConfig, chart: str, ending: Ending) -> N:
        """Give a chart the running node of these settings; the first chart starts it.

        Raises what starting the node raises, and `ChartNameTakenError`. After a failure the next
        chart tries again, also one that has waited for this one.
        """
        place = self._place_of(config, chart, ending)
        try:
            # A second chart waits here while the first one starts the node, and starts one itself
            # when that has failed.
            with place.starting:
                return self._running(place, config, ending)
        except BaseException:
            self._forget(config, place, chart)
            raise

    def break_off(self, config: MeshConfig, chart: str, ending: Ending) -> None:
        """Have `enter`, or the `join` after it, raise soon: the chart stops while it starts."""
        # Without locks: those who start hold one for as long as a connection takes.
        place = self._places.get(config)
        node = place.node if place else None
        if place is None or node is None or place.endings.get(chart) is not ending:
            return
        if place.runs:
            node.break_off(chart)
        elif place.starter is ending:
            node.stop()

    def leave(self, node: N, chart: str, end_by: float = 0.0) -> StopReport:
        """Let a chart go; with the last one its node stops. Returns what became of its events.

        `end_by` as in `Member.leave`. A call that was interrupted can be made again.
        """
        # Without the lock, since it takes its time. The name stays taken until `_forget`, so no
        # other chart of the name joins meanwhile.
        node.leave(chart, end_by)
        with self._lock:
            # A node that stops has no place any more; its settings may have a new one with another
            # node.
            place = self._places.get(node.config)
            if place and place.node is node and self._forget(node.config, place, chart):
                self._stopping.add(node)
            last = node in self._stopping
        if not last:
            return node.report()
        report = node.stop()
        # Not when `stop` was interrupted: the next call, or the end of the program, calls it again.
        self._stopping.discard(node)
        return report

    def stop_all(self) -> None:
        """Stop every chart that runs at interpreter exit, all within one time limit."""
        with self._lock:
            endings = [each for p in self._places.values() for each in p.endings.values()]
        # All begin before the first one is waited for, so that their time limits run side by side.
        for call in (*(each.begin for each in endings), *(each.stop for each in endings)):
            try:
                call()
            except Exception:
                logger.exception("a chart could not be stopped at exit")
        with self._lock:
            # What is left belongs to charts whose stop has failed or was interrupted, or that start
            # at this moment.
            places, stopping = list(self._places.values()), list(self._stopping)
            self._places = {}
        for place in places:
            # Else it starts for as long as a connection is tried, and holds the lock meanwhile.
            if place.node and not place.runs:
                place.node.stop()
            with place.starting:
                if place.node:
                    place.node.stop()
        for node in stopping:
            node.stop()

    def _running(self, place: _Place[N], config: MeshConfig, ending: Ending) -> N:
        if place.node and place.runs:
            return place.node
        place.starter = ending
        place.node = node = self._make(config)
        try:
            # Once the node can be seen: `break_off` finds it, or was called before.
            _refuse_stopped(node, ending)
            node.start()
            place.runs = True
            # Once it is seen to run: a `break_off` of before has stopped it, and the start may have
            # noticed nothing. A chart that waits for it needs a node that works.
            _refuse_stopped(node, ending)
        except BaseException:
            place.node, place.runs = None, False
            raise
        return node

    def _place_of(self, config: MeshConfig, chart: str, ending: Ending) -> _Place[N]:
        with self._lock:
            self._watch_process()
            place = self._places.setdefault(config, _Place())
            if chart in place.endings:
                raise ChartNameTakenError(
                    f"a live chart of this process is already named {chart!r}; "
                    "names tell charts apart, so give each its own"
                )
            place.endings[chart] = ending
            return place

    def _forget(self, config: MeshConfig, place: _Place[N], chart: str) -> bool:
        """Strike a chart off; whether it was the last one, and its place is gone."""
        with self._lock:
            place.endings.pop(chart, None)
            last = not place.endings
            # A second call for the same chart finds the place gone, or that of a later node.
            if last and self._places.get(config) is place:
                del self._places[config]
            return last

    def _watch_process(self) -> None:
        # With the first chart, since importing the package must do nothing.
        if not self._watching:
            self._watching = True
            atexit.register(self.stop_all)
            # Windows has no forks.
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._disown)

    def _disown(self) -> None:
        """Leave to the parent, in a forked child, what the parent runs."""
        # A thread of the parent may hold the lock, and is not here to release it.
        self._lock = threading.RLock()
        self._inherited += {*self.live, *self._stopping}
        self._places, self._stopping, self._entering = {}, set(), set()
        for node in self._inherited:
            node.abandon()


def _refuse_stopped(node: Member, ending: Ending) -> None:
    if ending.asked():
        node.stop()
        raise StoppedError("the chart was stopped while it waited for its node")
