"""The public signals: what happens to a node's peers, posted into its charts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

from miros_mesh.address import is_direct
from miros_mesh.observer import STOPPED, Observer
from miros_mesh.signals import (
    CONNECTED,
    NO_LISTENER,
    OUTBOX_OVERFLOW,
    OUTBOX_REFUSED,
    PEER_DOWN,
    PEER_UP,
    NoListener,
    OutboxOverflow,
    OutboxRefused,
    PeerChange,
)
from miros_mesh.timing.throttle import Throttle

SUMS_EVERY_S = 1.0

Post = Callable[[str, object], None]
"""Takes the name of a signal and its payload; must not wait."""


class PeerSignals(Observer):
    """Posts the public signals to every chart that runs at the time.

    A chart that starts gets one `PEER_UP` for each broker that is connected by then, so that none
    depends on whether a broker was found before it started or after. Home is left out: it is there,
    or the chart could not have started.
    """

    def __init__(
        self, node: str, network: str, home: str, *, tell_no_listener: bool = False
    ) -> None:
        self._thread_name = f"mesh-{node}-signals"
        self._network = network
        self._home = home
        self._tell_no_listener = tell_no_listener
        # A dictionary, because it keeps the order of connecting.
        self._up: dict[str, None] = {}
        # Guards `_up`, and is held while a signal of a peer is posted, so that each chart gets
        # those of its start and the later ones in their order. Reentrant: a chart that is posted to
        # may start another one. Taken before `_lock`, never inside it.
        self._ordering = threading.RLock()
        self._posts: dict[str, Post] = {}
        self._timer: threading.Timer | None = None
        # Guards the two above.
        self._lock = threading.Lock()
        # What happens to many events is told as a sum, once a second for each thing it happens to.
        self._sums = Throttle(SUMS_EVERY_S)
        self._latest: dict[str, tuple[str, Callable[[int], object]]] = {}
        """By the keys of `_sums`: the signal, and what makes its payload of the sum."""

    def subscribe(self, chart: str, post: Post) -> None:
        """Post to a chart that has started, first the peers that are up, but for home."""
        with self._ordering:
            with self._lock:
                self._posts[chart] = post
            for peer in self._up:
                # A change that comes meanwhile waits for `_ordering`, and so comes after these.
                if peer != self._home:
                    post(PEER_UP, PeerChange(peer, CONNECTED))

    def unsubscribe(self, chart: str) -> None:
        """Post nothing more to a chart, which ends."""
        with self._lock:
            self._posts.pop(chart, None)

    def close(self) -> None:
        """Post nothing more to any chart, and end the timer."""
        with self._lock:
            self._posts.clear()
            timer, self._timer = self._timer, None
        if timer:
            timer.cancel()
            if timer is not threading.current_thread():
                timer.join()

    def peer_up(self, *, peer: str) -> None:
        with self._ordering:
            self._up[peer] = None
            self._post(PEER_UP, PeerChange(peer, CONNECTED))

    def peer_down(self, *, peer: str, reason: str) -> None:
        with self._ordering:
            # No signal for a peer that never was up, nor at the end that the node itself makes.
            if peer in self._up and reason != STOPPED:
                self._post(PEER_DOWN, PeerChange(peer, reason))
            self._up.pop(peer, None)

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        # Records of snoop are expendable, and a program need not react to their loss.
        if network == self._network:
            key = f"{OUTBOX_OVERFLOW} {peer}"
            self._post_sum(key, OUTBOX_OVERFLOW, lambda sum_: OutboxOverflow(peer, sum_), events)

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        # Of one chart `unheard` tells.
        if self._tell_no_listener and not is_direct(topic):
            key = f"{NO_LISTENER} {peer} {topic}"
            self._post_sum(key, NO_LISTENER, lambda sum_: NoListener(peer, topic, sum_), events)

    def unheard(self, chart: str) -> None:
        """Tell the charts that no broker has a queue of a chart (node/chart) they sent to."""
        self._post_sum(
            f"{NO_LISTENER} {chart}", NO_LISTENER, lambda sum_: NoListener("", chart, sum_), 1
        )

    def refused(self, told: OutboxRefused) -> None:
        """Tell the charts that a broker refused an event."""
        key = f"{OUTBOX_REFUSED} {told.address} {told.reason}"
        self._post_sum(key, OUTBOX_REFUSED, lambda sum_: replace(told, events=sum_), told.events)

    def _post_sum(
        self, key: str, signal: str, payload: Callable[[int], object], events: int
    ) -> None:
        # Not under `_ordering`: a sum has no order with the peers' coming and going.
        # Taken away first, and put there last: so what waits always has its own, and nothing else
        # stays, since there are as many keys as charts that were sent to.
        self._latest.pop(key, None)
        if due := self._sums.due(key, events):
            self._post(signal, payload(due))
        else:
            self._latest[key] = signal, payload
            self._post_later()

    def _post_later(self) -> None:
        """Post what came too soon after the last signal: it may be the last one for long."""
        with self._lock:
            if self._timer or not self._posts:
                return
            timer = threading.Timer(SUMS_EVERY_S, self._post_rest)
            timer.name, timer.daemon = self._thread_name, True
            # While the interpreter ends no thread can be started.
            with contextlib.suppress(RuntimeError):
                timer.start()
                self._timer = timer

    def _post_rest(self) -> None:
        with self._lock:
            self._timer = None
        for key in self._sums.waiting:
            # None where it is not put there yet: who does that sees to it.
            if latest := self._latest.get(key):
                self._post_sum(key, *latest, 0)

    def _post(self, signal: str, payload: object) -> None:
        # A copy: what is posted to may start or stop a chart.
        with self._lock:
            posts = list(self._posts.values())
        for post in posts:
            post(signal, payload)
