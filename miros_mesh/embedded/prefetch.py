"""What a channel has fetched ahead, what it has handed out, and what is handled since.

A message of a queue, as its consumer sees it:

    stored -> ready (Reader.refill) -> unsettled (Reader.take, Deliveries.add)
           -> settled (Deliveries.take), then waiting in Acknowledgements until it is removed
           or stored again (Reader.give_back)

Of a shared queue a consumer has to claim a message before it is ready.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final, Protocol

from amqp.exceptions import PreconditionFailed

from miros_mesh.embedded.consumers import Standing
from miros_mesh.embedded.message import Entry, Place

# Rows of one query: enough to make its cost small beside theirs, few enough for the memory.
_AT_A_TIME: Final = 256
_GATHERED: Final = 64
_GATHER_S: Final = 0.05


class Stored(Protocol):
    """A store, as far as its readers know it."""

    def fetch(self, queue: int, after: int, limit: int) -> list[Entry]:
        """Return so many messages of a queue, those behind one of them."""

    def claim(self, standing: Standing, limit: int) -> tuple[list[Entry], bool]:
        """Return so many messages that no other consumer of a shared queue is handed from now.

        They may be fewer than there are: returns besides whether there are more.
        """


class Reader:
    """One queue as one channel reads it.

    Fetches ahead, never more than `prefetch` beyond what has been settled (0: no limit), and
    nothing while it stands in line behind others. `unsettled` is the channel's set of what it
    handed out of this queue; it outlives the reader.
    """

    def __init__(self, standing: Standing, prefetch: int, unsettled: set[int]) -> None:
        self.standing = standing
        self.queue = standing.queue
        self.ready: deque[Entry] = deque()
        self.unsettled = unsettled
        self._prefetch = prefetch or sys.maxsize
        # All up to here was fetched, if it is not in `unsettled`.
        self._last = 0
        self.more = True
        """Whether messages may be stored behind those that were fetched."""

    @property
    def wants_refill(self) -> bool:
        """Whether a `refill` may find something: there may be more, and the prefetch allows it."""
        wanting = self.more and self.standing.active and not self.ready
        return wanting and len(self.unsettled) < self._prefetch

    def refill(self, stored: Stored, most: int = _AT_A_TIME) -> None:
        """Fetch up to `most` if there is nothing left to hand out and the prefetch allows it."""
        room = min(self._prefetch - len(self.unsettled), most)
        if self.ready or room <= 0 or not self.standing.active:
            return
        if self.standing.sharing:
            self._claim(stored, room)
        else:
            self._fetch(stored, room)

    def _claim(self, stored: Stored, room: int) -> None:
        entries, self.more = stored.claim(self.standing, room)
        self.ready.extend(entries)

    def _fetch(self, stored: Stored, room: int) -> None:
        passed_over = sum(message > self._last for message in self.unsettled)
        entries = stored.fetch(self.queue, self._last, room + passed_over)
        self.more = len(entries) == room + passed_over
        self.ready.extend([e for e in entries if e.message not in self.unsettled][:room])
        if self.ready:
            self._last = self.ready[-1].message

    def take(self) -> Entry:
        """Return the next message; it is unsettled from now on."""
        entry = self.ready.popleft()
        self.unsettled.add(entry.message)
        return entry

    def give_back(self, messages: list[int]) -> None:
        """Hand these out again, each in its place; of a shared queue, to who claims them."""
        self.unsettled.difference_update(messages)
        self.more = True
        if self.standing.sharing:
            return
        fetched = [entry.message for entry in self.ready]
        self._last = min([self._last + 1, *messages, *fetched]) - 1
        self.ready.clear()

    def take_standing(self, standing: Standing) -> None:
        """Go on where it stands in line now; there may be something that was given back."""
        self.standing = standing
        self.more = True


class Deliveries:
    """The tags of one channel: each names a message of a queue until it is settled."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        # What its consumer gave back when it was cancelled; it can still be settled.
        self._given_back: set[Place] = set()
        self._unsettled: defaultdict[int, set[int]] = defaultdict(set)
        self._last_tag = 0

    def unsettled(self, queue: int) -> set[int]:
        """Return the live set of what was handed out of one queue."""
        return self._unsettled[queue]

    def add(self, queue: int, message: int) -> int:
        """Note a message that is handed out; returns its tag."""
        self._last_tag += 1
        self._places[self._last_tag] = (queue, message)
        return self._last_tag

    def given_back(self, queue: int) -> None:
        """Note that all unsettled ones of a queue are there for others."""
        self._given_back |= {(queue, message) for message in self._unsettled[queue]}

    def take_back(self, tag: int, *, multiple: bool = False) -> tuple[list[Place], list[Place]]:
        """As `take`; returns besides which of those are not there for others already."""
        before = set(self._given_back)
        places = self.take(tag, multiple=multiple)
        return places, [place for place in places if place not in before]

    def take(self, tag: int, *, multiple: bool = False) -> list[Place]:
        """Settle one tag, or all up to it (0: all there are); returns what they name."""
        if multiple:
            tags = [known for known in self._places if known <= tag or not tag]
        elif tag in self._places:
            tags = [tag]
        else:
            raise PreconditionFailed(f"PRECONDITION_FAILED - unknown delivery tag {tag}")
        places = [self._places.pop(known) for known in tags]
        for queue, message in places:
            self._unsettled[queue].discard(message)
        if self._given_back:
            self._given_back.difference_update(places)
        return places


class Acknowledgements:
    """Stored one by one while they are rare, and together when they come in a burst.

    A burst ends with the next drain, so a kill costs a repetition of a few dozen messages at most.
    """

    def __init__(self, settle: Callable[[list[Place]], None]) -> None:
        self._settle = settle
        self._waiting: list[Place] = []
        self._stored_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, places: list[Place]) -> None:
        """Take what is handled, and store it now if that is rare."""
        self._waiting += places
        calm = time.monotonic() - self._stored_at > _GATHER_S
        if calm or len(self._waiting) >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Store at once what waits, in one transaction."""
        if self._waiting:
            self._settle(self._waiting)
            self._waiting = []
            self._stored_at = time.monotonic()
