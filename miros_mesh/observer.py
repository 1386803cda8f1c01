"""The one hook interface of the library: metrics, logs and tests subclass `Observer`.

Hooks are called from worker threads and from charts' threads. A hook must return quickly and must
not raise; one that raises is logged once and its exception goes no further. A hook may transmit: it
is not called again, on its own thread, for what it causes itself; all other observers are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from miros_mesh.text import logger_of

logger = logger_of(__name__)

STOPPED = "stopped"
"""The reason of an end that was asked for; any other reason of `peer_down` is a loss."""


class Observer:
    """Every hook does nothing; override the ones you need."""

    def transmitted(self, *, network: str, chart: str) -> None:
        """A chart put an event or a record into the outbox."""

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        """A peer confirmed a frame; `seconds` from publish to confirm."""

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        """A frame arrived and was opened."""

    def handed_over(self, *, chart: str, seconds: float) -> None:
        """An event entered a chart's FIFO; `seconds` since its `transmit` by the sender's clock."""

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        """Events will not be delivered; `reason` is one of few fixed words."""

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        """The outbox for a peer was full, and its oldest events went; `dropped` counts them too."""

    def publication_refused(self, *, peer: str, network: str, reason: str, events: int) -> None:
        """A broker refused events of charts, which are among this user's dead letters now.

        `reason` is that of a `LinkError`. Other events for the peer go on.
        """

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        """A broker confirmed events for which it has no queue: no chart listens to their topic.

        Not called for records of snoop, which count as `dropped`.
        """

    def request_ended(self, *, chart: str, outcome: str, seconds: float) -> None:
        """A request of a chart or a client is open no more, `seconds` after it was made.

        `outcome` is `answered`, `timed_out`, `unroutable`, `cancelled` or `stopped`.
        """

    def set_aside(self, *, chart: str, reason: str) -> None:
        """Something that a chart received became a dead letter; `reason` is one of few words."""

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        """Sequence numbers are missing from one sender's stream, for good.

        On the mesh this is called when repair has given them up; on a snoop network, which has no
        repair, at the first later record.
        """

    def repaired(self, *, network: str, events: int) -> None:
        """Missing events came after all: their sender was asked for them."""

    def peer_up(self, *, peer: str) -> None:
        """A publisher is connected to a peer (its redacted address)."""

    def peer_down(self, *, peer: str, reason: str) -> None:
        """A publisher lost its peer; `reason` is `STOPPED` or that of a `LinkError`."""

    def blocked(self, *, peer: str) -> None:
        """A peer reports a memory or disk alarm: events for it wait until `unblocked`."""

    def unblocked(self, *, peer: str) -> None:
        """The alarm of a blocked peer has ended, or its connection is gone."""

    def subscribed(self, *, broker: str) -> None:
        """The node consumes from its home broker."""

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        """The node lost its home broker; `reason` is `STOPPED` or that of a `LinkError`."""

    def unreached(self, *, peer: str, reason: str) -> None:
        """An attempt to connect to a broker failed; it is made again after a pause.

        Called for each, by the publisher and, at the home broker, by the subscriber as well.
        `reason` is that of a `LinkError`.
        """

    def hearing(self, *, chart: str) -> None:
        """A chart's queue is consumed: it hears what is sent from now on."""

    def deaf(self, *, chart: str, reason: str) -> None:
        """A chart's queue cannot be consumed, now or any more, and is tried again.

        `reason` is that of a `LinkError`.
        """

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        """Discovery has looked at an address; `verdict` is one of few words."""

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        """A source of discovery went through all of its candidates once."""

    def cache_read(self, *, hit: bool) -> None:
        """The cache of the local network was young enough, or not."""

    def alien(self, *, outcome: str) -> None:
        """What became of the broker that an unknown node named; `outcome` is one of few words."""

    def chart_left(self, *, node: str, chart: str) -> None:
        """A chart of another node, or another chart of this one, said goodbye."""

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        """An exception in a handler ended a chart's thread."""

    def chart_revived(self, *, chart: str) -> None:
        """A chart of discovery that died is dead no more: it runs again, or was stopped."""

    def thread_died(self, *, thread: str, peer: str, error: BaseException) -> None:
        """An error of the library ended the thread of a peer's connection; only a restart helps."""


class Span:
    """One event on its way out of a chart or through one. This base follows nothing."""

    context: str | None = None
    """What travels with the event: a W3C `traceparent`."""

    def end(
        self,
        *,
        message_id: str | None = None,
        size_bytes: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        """End the span: the event was sent or handled, or `error` prevented that."""


NO_SPAN = Span()


class Tracer(Observer):
    """An observer that follows single events; a node asks the first one that it has.

    Like a hook, neither method may raise. The first runs on the thread that transmits; the second,
    and the end of its span, on the thread that handles.
    """

    def sending(self, *, node: str, chart: str, topic: str, signal: str) -> Span:
        """A chart begins to transmit; the span's `context` is sent along."""
        return NO_SPAN

    def handling(
        self,
        *,
        node: str,
        chart: str,
        topic: str,
        signal: str,
        message_id: str,
        size_bytes: int,
        context: str | None,
    ) -> Span:
        """A chart that hears the pattern `topic` begins to handle what was sent with `context`."""
        return NO_SPAN


class Observers(Observer):
    """Several observers as one; an exception of a hook stops here.

    A hook that does what would call it again is not called again: the other observers are.
    """

    def __init__(self, *observers: Observer) -> None:
        for hook in _HOOKS:
            # The others keep the base's hook, which costs next to nothing.
            if calls := [_guarded(each, hook) for each in observers if _overrides(each, hook)]:
                setattr(self, hook, calls[0] if len(calls) == 1 else _all(calls))


def hears(observer: Observer, hook: str) -> bool:
    """Whether anything comes of calling this hook of an observer, now and later."""
    return _overrides(observer, hook)


# Taken from the class, so that a new hook needs no second list.
_HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_"))


def _overrides(observer: Observer, hook: str) -> bool:
    # A hook may also be set on the instance; then it is a plain function without `__func__`.
    own = getattr(observer, hook)
    return getattr(own, "__func__", own) is not getattr(Observer, hook)


def _guarded(observer: Observer, hook: str) -> Callable[..., None]:
    own = getattr(observer, hook)
    # The threads that are in this hook now; each adds and removes itself only, so no lock.
    inside: set[int] = set()
    # Several threads may set it: at worst an error is logged twice.
    failed = False

    def call(**facts: Any) -> None:
        nonlocal failed
        thread = threading.get_ident()
        # Its `transmit` calls hooks again, on this thread: without this it would never end.
        if thread in inside:
            return
        inside.add(thread)
        try:
            own(**facts)
        # A worker or a chart must not end because of what watches it.
        except Exception:
            if not failed:
                failed = True
                logger.exception("observer %r raised in %s; said once", observer, hook)
        finally:
            inside.discard(thread)

    return call


def _all(calls: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(**facts: Any) -> None:
        for each in calls:
            each(**facts)

    return call
