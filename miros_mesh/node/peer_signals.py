"""What befalls a node's peers, told to its charts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from miros_mesh.observer import STOPPED, Observer
from miros_mesh.signals import (
    CONNECTED,
    OUTBOX_OVERFLOW,
    PEER_DOWN,
    PEER_UP,
    OutboxOverflow,
    PeerChange,
)
from miros_mesh.throttle import Throttle

OVERFLOW_EVERY_S = 1.0

Post = Callable[[str, object], None]
"""Takes the name of a signal and its payload; must not wait."""


class PeerSignals(Observer):
    """Posts the public signals to every chart that runs at the time.

    A chart that starts gets one `PEER_UP` for each broker that is connected by then, so that none
    depends on whether a broker was found before it started or after. Home is left out: it is there,
    or the chart could not have started.
    """

    def __init__(self, node: str, network: str, home: str) -> None:
        self._thread_name = f"mesh-{node}-signals"
        self._network = network
        self._home = home
        self._posts: dict[str, Post] = {}
        # A dictionary, because it keeps the order.
        self._up: dict[str, None] = {}
        # What a chart is told of a peer, at its start and later, has one order.
        self._telling = threading.RLock()
        self._overflow = Throttle(OVERFLOW_EVERY_S)
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def subscribe(self, chart: str, post: Post) -> None:
        """The chart has started; `post` is told of the peers that are up, but for home."""
        with self._telling:
            with self._lock:
                self._posts = {**self._posts, chart: post}
            for peer in self._up:
                if peer != self._home:
                    post(PEER_UP, PeerChange(peer, CONNECTED))

    def unsubscribe(self, chart: str) -> None:
        """The chart ends."""
        with self._lock:
            self._posts = {name: post for name, post in self._posts.items() if name != chart}

    def close(self) -> None:
        """Tell nothing more."""
        with self._lock:
            self._posts = {}
            timer, self._timer = self._timer, None
        if timer:
            timer.cancel()
            if timer is not threading.current_thread():
                timer.join()

    def peer_up(self, *, peer: str) -> None:
        with self._telling:
            self._up[peer] = None
            self._post(PEER_UP, PeerChange(peer, CONNECTED))

    def peer_down(self, *, peer: str, reason: str) -> None:
        with self._telling:
            if peer in self._up and reason != STOPPED:
                self._post(PEER_DOWN, PeerChange(peer, reason))
            self._up.pop(peer, None)

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        if network == self._network:
            self._tell_overflow(peer, events)

    def _tell_overflow(self, peer: str, events: int) -> None:
        if due := self._overflow.due(peer, events):
            self._post(OUTBOX_OVERFLOW, OutboxOverflow(peer, due))
        else:
            self._tell_later()

    def _tell_later(self) -> None:
        """What came too soon may be the last for long, and would stay untold."""
        with self._lock:
            if self._timer or not self._posts:
                return
            timer = threading.Timer(OVERFLOW_EVERY_S, self._tell_rest)
            timer.name, timer.daemon = self._thread_name, True
            # No thread can be started any more while the interpreter ends.
            with contextlib.suppress(RuntimeError):
                timer.start()
                self._timer = timer

    def _tell_rest(self) -> None:
        with self._lock:
            self._timer = None
        for peer in self._overflow.waiting:
            self._tell_overflow(peer, 0)

    def _post(self, signal: str, payload: object) -> None:
        for post in self._posts.values():
            post(signal, payload)
