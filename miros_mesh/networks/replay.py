"""Which numbers of a sender were seen: the sliding window of IPsec (RFC 4303, section 3.4.3)."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum


class Verdict(Enum):
    """What a sequence number says about its message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"


class ReplayWindow:
    """The numbers of one sender's stream, remembered `size` back from the highest."""

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int, first: int) -> None:
        self._size = size
        # Whoever joins late has missed nothing that was meant for it.
        self._highest = first - 1
        self._seen = 0

    def check(self, sequence: int) -> tuple[Verdict, int]:
        """The verdict, and how many numbers before this one are missing for the first time."""
        ahead = sequence - self._highest
        if ahead > 0:
            # A sender may jump by 2**62, and nobody has memory to shift so far.
            older = self._seen << ahead if ahead < self._size else 0
            self._seen = (older | 1) & ((1 << self._size) - 1)
            self._highest = sequence
            return Verdict.NEW, ahead - 1
        if -ahead >= self._size:
            return Verdict.STALE, 0
        bit = 1 << -ahead
        if self._seen & bit:
            return Verdict.DUPLICATE, 0
        self._seen |= bit
        return Verdict.NEW, 0


class ReplayWindows:
    """A window per sender; the senders that were silent for longest are forgotten first."""

    def __init__(self, size: int, senders: int = 10_000) -> None:
        self._size = size
        self._senders = senders
        self._windows: OrderedDict[str, ReplayWindow] = OrderedDict()

    def check(self, sender: str, sequence: int) -> tuple[Verdict, int]:
        """As `ReplayWindow.check`, for one sender's incarnation and chart."""
        window = self._windows.get(sender)
        if window is None:
            window = self._windows[sender] = ReplayWindow(self._size, sequence)
            if len(self._windows) > self._senders:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(sender)
        return window.check(sequence)
