"""One queue as one channel reads it."""

from __future__ import annotations

import sys
from collections import deque
from typing import Final

from miros_mesh.embedded.store import Entry, Store

_AT_A_TIME: Final = 256


class Reader:
    """Fetches ahead, never more than `prefetch` beyond what has been settled (0: no limit).

    `unsettled` is the channel's set of what it handed out of this queue; it outlives the reader.
    """

    def __init__(self, queue: int, prefetch: int, unsettled: set[int]) -> None:
        self.queue = queue
        self.ready: deque[Entry] = deque()
        self.unsettled = unsettled
        self._prefetch = prefetch or sys.maxsize
        self._last = 0
        self.held_back = False

    def refill(self, store: Store) -> None:
        """Fetch if there is nothing left to hand out; `held_back` when the prefetch limits it."""
        window = self._prefetch - len(self.unsettled)
        if self.ready or window <= 0:
            self.held_back = window <= 0
            return
        room = min(window, _AT_A_TIME)
        passed_over = sum(message > self._last for message in self.unsettled)
        entries = store.fetch(self.queue, self._last, room + passed_over)
        self.ready.extend([e for e in entries if e.message not in self.unsettled][:room])
        self.held_back = len(self.ready) == window
        if self.ready:
            self._last = self.ready[-1].message

    def take(self) -> Entry:
        """The next message; it is unsettled from now on."""
        entry = self.ready.popleft()
        self.unsettled.add(entry.message)
        return entry

    def give_back(self, messages: list[int]) -> None:
        """Hand these out again, each in its place."""
        self.unsettled.difference_update(messages)
        fetched = [entry.message for entry in self.ready]
        self._last = min([self._last + 1, *messages, *fetched]) - 1
        self.ready.clear()
