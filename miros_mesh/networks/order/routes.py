"""Where a node's charts have sent, for receivers that hear only some of it.

A chart has one line of numbers for all of its destinations. Of a chart that sends under `a`, `b`,
and to the chart `x`, and has sent these:

| number | 1 | 2 | 3 | 4 | 5 | 6 |
| --- | --- | --- | --- | --- | --- | --- |
| to | a | a | b | x | b | a |

| event | says | and means |
| --- | --- | --- |
| 2 | nothing | 1 went where it goes: who hears it has heard 1 |
| 3 | base 0, a to 2 | who hears a as well misses something if 2 has not come |
| 4 | base 0, a to 2, b to 3 | likewise |
| 5 | base 3, x to 4 | 4 was for x alone |
| 6 | base 2, x to 4, b to 5 | 3 to 5 were for who hears b, or is x |

The receiver knows what it hears, and so what of this was for it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from msgspec.structs import replace

from miros_mesh.address import is_direct
from miros_mesh.networks.order.ranges import Range
from miros_mesh.wire.envelope import (
    MAX_ROUTES,
    MAX_ROUTES_BYTES,
    Envelope,
    RoutedEnvelope,
)

MOST_DESTINATIONS: Final = 10_000
"""Of a chart, of topics as of addresses; who hears others has to ask."""


class Destinations(NamedTuple):
    """Where a chart has sent, each with the last number that went there."""

    known: Sequence[tuple[str, int]] = ()
    forgotten: int = 0
    """Up to this number, some went to destinations that are not known any more."""

    def last_for(self, heard: Callable[[str], bool]) -> int:
        """Return up to which number something may have gone to who hears that."""
        own = (last for each, last in self.known if heard(each))
        return max(self.forgotten, max(own, default=0))


class Routes:
    """Says of each event where those before it went. Not thread-safe.

    As long as a chart goes on to send where it has sent last (`last_to`), nothing has to be said,
    and nothing is asked or told here.
    """

    def __init__(self) -> None:
        self._charts: defaultdict[str, _Sent] = defaultdict(_Sent)
        self.last_to: dict[str, str] = {}
        """Where each chart has sent last."""

    def routed(self, event: Envelope, destination: str) -> Envelope:
        """Return a numbered event that says where the ones before it went, if there are any.

        It is the first that goes elsewhere than the one before it.
        """
        sent = self._up_to(event.chart, event.sequence - 1)
        if sent is None:
            return event
        base, routes = sent.before(destination)
        return replace(RoutedEnvelope.of(event), base=base, routes=routes)

    def sent(self, event: Envelope, destination: str) -> None:
        """Note that such an event was sent."""
        self._charts[event.chart].note(destination, event.sequence)
        self.last_to[event.chart] = destination

    def destinations(self, chart: str, last: int) -> Destinations:
        """Return where a chart has sent up to its last number."""
        sent = self._up_to(chart, last)
        return sent.all() if sent else Destinations()

    def recent(self, chart: str, last: int, most: int) -> list[str]:
        """Return where a chart has sent last, the most recent first: so many at most."""
        sent = self._up_to(chart, last)
        return sent.recent(most) if sent else []

    def _up_to(self, chart: str, last: int) -> _Sent | None:
        """Note that the events of a chart up to its last number went where it has sent last."""
        if (sent := self._charts.get(chart)) is not None:
            sent.note(self.last_to[chart], last)
        return sent


def others_before(event: RoutedEnvelope, heard: Callable[[str], bool]) -> Range | None:
    """Return which numbers right before an event were not for who hears it, if any.

    `heard` says whether it hears a destination.
    """
    if event.base is None:
        # In a frame with others, one that says nothing is one of these, too.
        return None
    own = [
        last for destination, last in event.routes if last < event.sequence and heard(destination)
    ]
    first = max(own, default=0)
    first = max(first, event.base) + 1
    return (first, event.sequence - 1) if first < event.sequence else None


class _Destinations:
    """Destinations of one kind, with the last number that went there."""

    __slots__ = ("forgotten", "last")

    def __init__(self) -> None:
        self.last: OrderedDict[str, int] = OrderedDict()
        """The most recent at the end."""
        self.forgotten = 0
        """Up to this number, some went to destinations that are not known any more."""

    def note(self, destination: str, number: int) -> None:
        self.last[destination] = number
        self.last.move_to_end(destination)
        if len(self.last) > MOST_DESTINATIONS:
            _, self.forgotten = self.last.popitem(last=False)

    def after(self, number: int) -> Iterator[tuple[int, str]]:
        """Return, the most recent first, what went somewhere after a number: negative numbers."""
        for destination, last in reversed(self.last.items()):
            if last <= number:
                return
            yield -last, destination


class _Sent:
    """Where one chart has sent."""

    __slots__ = ("_addresses", "_topics")

    def __init__(self) -> None:
        self._topics = _Destinations()
        self._addresses = _Destinations()

    def note(self, destination: str, number: int) -> None:
        self._kind(destination).note(destination, number)

    def before(self, destination: str) -> tuple[int, tuple[tuple[str, int], ...]]:
        """Return base and routes of what is sent there next."""
        own = self._kind(destination)
        base = max(own.last.get(destination, own.forgotten), self._topics.forgotten)
        kinds = [self._topics.after(base)]
        if own is self._topics:
            base = max(base, self._addresses.forgotten)
            kinds.append(self._addresses.after(base))
        routes, size_bytes = list[tuple[str, int]](), 0
        for negative, each in merge(*kinds):
            size_bytes += len(each.encode())
            if len(routes) == MAX_ROUTES or size_bytes > MAX_ROUTES_BYTES:
                # Who hears that one, or one before it, has to ask.
                base = max(base, -negative)
                break
            routes.append((each, -negative))
        return base, tuple(routes)

    def all(self) -> Destinations:
        kinds = self._topics, self._addresses
        forgotten = max(each.forgotten for each in kinds)
        return Destinations([each for kind in kinds for each in kind.last.items()], forgotten)

    def recent(self, most: int) -> list[str]:
        both = merge(self._topics.after(0), self._addresses.after(0))
        return [each for (_, each), _ in zip(both, range(most), strict=False)]

    def _kind(self, destination: str) -> _Destinations:
        return self._addresses if is_direct(destination) else self._topics
