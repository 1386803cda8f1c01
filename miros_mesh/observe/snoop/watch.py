"""What one reader of a monitor gets: each record in turn, and a gap in place of those it misses."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self

from miros_mesh.wire.envelope import SnoopRecord

StreamKey = tuple[str, str, str, str]
"""Network, node, chart, incarnation: what has a numbering of its own."""


@dataclass(frozen=True, slots=True)
class SnoopGap:
    """Records that a chart sent and that are not shown."""

    network: str
    """`snoop_trace` or `snoop_spy`."""
    node: str
    chart: str
    incarnation: str
    missing: int
    """How many. Of a monitor that selects, some of those lost may not have been selected."""
    reason: Literal["lost", "slow_reader"]
    """They never arrived, or this reader's queue was full."""


class Watch:
    """A bounded queue of a monitor's items, to iterate over; ends with the monitor, or at a limit.

    The monitor's threads put items in, one thread takes them out. When the queue is full the newest
    items are not kept but counted, a gap for each stream, which stands behind what was kept.
    """

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        # Of the reader's thread alone, by the monotonic clock.
        self._deadline = math.inf
        # Guards all below. It is the innermost lock: nothing is called while it is held.
        self._changed = threading.Condition(threading.Lock())
        self._items: deque[SnoopRecord | SnoopGap] = deque()
        # What did not fit in; goes behind the items as soon as there is room for one more.
        self._overflow: dict[StreamKey, SnoopGap] = {}
        self._ended = False
        # Whether the reader waits: `notify` for each item would cost more than the item.
        self._waits = False
        self.missed = 0
        """How many records did not fit in, because the reader was too slow."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SnoopRecord | SnoopGap:
        item = self.get(None)
        if item is None:
            raise StopIteration
        return item

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more, now or later."""
        # Without the lock, for the reader: only it takes items out, and after `_ended` none come
        # in.
        return (self._ended or self._left_s() <= 0) and not (self._items or self._overflow)

    def get(self, timeout_s: float | None = 0.0) -> SnoopRecord | SnoopGap | None:
        """Return the next item, or None: at the end, and after `timeout_s` (None: no limit)."""
        limit = self._left_s() if timeout_s is None else min(timeout_s, self._left_s())
        with self._changed:
            # At the limit what waits is still given out, so this is looked at before the time.
            if not self._ready():
                self._waits = True
                self._changed.wait_for(self._ready, None if limit == math.inf else max(limit, 0))
                # By the reader in any case, also after its limit: or each `take` would notify for
                # nothing.
                self._waits = False
            if self._items:
                return self._items.popleft()
            # The items before the gap are gone, so its turn has come although no further item has.
            return self._overflow.pop(next(iter(self._overflow))) if self._overflow else None

    def limit(self, seconds: float) -> None:
        """End it so many seconds from now; for the thread that reads it."""
        self._deadline = time.monotonic() + seconds

    def waiting(self, most: int) -> list[SnoopRecord | SnoopGap]:
        """Take what waits at this moment, but so many items at most."""
        with self._changed:
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            # A gap is given out when all that was kept before it is.
            if not self._items:
                items += self._overflow.values()
                self._overflow.clear()
            return items

    def close(self) -> None:
        """End the watch; what waits in it can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self, network: str, items: Iterable[SnoopRecord | SnoopGap]) -> None:
        """Put items of a network in; never waits for the reader."""
        with self._changed:
            # A node's thread may be in `_take` while its monitor stops.
            if self._ended:
                return
            for item in items:
                self._put(network, item)
            if self._waits:
                self._changed.notify()

    def _put(self, network: str, item: SnoopRecord | SnoopGap) -> None:
        if len(self._items) >= self._max_items:
            self._note((network, item.node, item.chart, item.incarnation), item)
            return
        # Room again: first what was missed, so that each stream's gap stands before its next
        # record. The queue may grow beyond its limit by a gap for each stream.
        if self._overflow:
            self._items.extend(self._overflow.values())
            self._overflow.clear()
        self._items.append(item)

    def _note(self, key: StreamKey, item: SnoopRecord | SnoopGap) -> None:
        amount = item.missing if isinstance(item, SnoopGap) else 1
        self.missed += amount
        known = self._overflow.get(key) or SnoopGap(*key, missing=0, reason="slow_reader")
        # One gap for each stream, however many records it stands for: that bounds the memory.
        self._overflow[key] = replace(known, missing=known.missing + amount)

    def _ready(self) -> bool:
        return bool(self._items or self._overflow or self._ended)

    def _left_s(self) -> float:
        return self._deadline - time.monotonic()
