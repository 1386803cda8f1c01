"""When a mesh in memory is at rest: nothing is on its way, and no chart has anything to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.network_specs import GROUP, MESH, NAMES, REPAIR
from miros_mesh.node.node import Node
from miros_mesh.node.session import Session, Work
from miros_mesh.statechart import fabric

# What these carry comes at intervals, or stays in its queue for the next process.
_OF_NO_EVENTS: Final = frozenset(
    exchange_of(name) for name in NAMES if name not in (MESH.name, REPAIR.name, GROUP.name)
)
_LOOK_EVERY_S: Final = 0.001


class Rest:
    """Looks whether a mesh is at rest.

    An event is at one place after the other, and at the next before it leaves the last: outbox,
    broker, miros' fabric, FIFO and handler, and by `transmit` outbox again. The places are looked
    at one after the other, in this order, so an event that moves on along them is met. One that is
    sent or posted behind our back is not; but then a number has grown since the look began.
    """

    def __init__(self, store: MemoryStore, nodes: Callable[[], list[Node]]) -> None:
        self._store = store
        self._nodes = nodes

    def wait(self, timeout_s: float) -> None:
        """Return once it is at rest; raises `AssertionError` with what is not, after the time."""
        until, pause = time.monotonic() + timeout_s, threading.Event()
        while under_way := self._look():
            if time.monotonic() > until:
                raise AssertionError(
                    f"the mesh is not at rest within {timeout_s:g} s: {'; '.join(under_way)}"
                )
            pause.wait(_LOOK_EVERY_S)

    def _look(self) -> list[str]:
        before = self._moves()
        found = list(self._under_way())
        return found if found or before == self._moves() else ["events move"]

    def _moves(self) -> tuple[int, int, int]:
        nodes = self._nodes()
        sent = sum(node.mesh.network.numbered for node in nodes)
        done = sum(work.done for _, work in self._work())
        return len(nodes), sent, done

    def _under_way(self) -> Iterator[str]:
        for node in self._nodes():
            for peer, events in node.outboxes().items():
                if events:
                    yield f"{events} event(s) of {node.name} wait for {peer}"
        yield from self._at_broker()
        if fabric.delivers():
            yield "events that a chart has published are not handed over yet"
        for node in self._nodes():
            yield from (f"{each.chart} dies" for each in node.sessions if each.dying)
        for chart, work in self._work():
            if work.to_do:
                yield f"{work.to_do} event(s) wait for {chart} or are handled there"

    def _at_broker(self) -> Iterator[str]:
        others = {q for q, exchange, _ in self._store.bindings() if exchange in _OF_NO_EVENTS}
        # That of a chart may be without a consumer for a moment, while its node connects anew. Of
        # others it is for a process that comes later, or has gone.
        own = {queue for session in self._sessions() for queue in session.queues}
        deferred = sum(work.deferred for _, work in self._work())
        waiting = [
            each
            for each in self._store.queues()
            if each.messages and (each.consumers or each.name in own) and each.name not in others
        ]
        if sum(each.messages for each in waiting) > deferred:
            yield from (f"{each.messages} message(s) wait in {each.name}" for each in waiting)

    def _work(self) -> list[tuple[str, Work]]:
        return [
            (f"{session.node.identity.node}/{session.chart}", session.work())
            for session in self._sessions()
        ]

    def _sessions(self) -> list[Session]:
        return [
            session for node in self._nodes() for session in node.sessions if not session.silent
        ]
