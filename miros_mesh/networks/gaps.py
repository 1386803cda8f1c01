"""What is missing in streams that nobody repairs."""

from __future__ import annotations

from collections import OrderedDict

MAX_SENDERS = 10_000


class Gaps:
    """The highest number of each sender; the senders that were silent for longest are forgotten.

    Not thread-safe.
    """

    def __init__(self, senders: int = MAX_SENDERS) -> None:
        self._senders = senders
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def before(self, sender: tuple[str, str], sequence: int) -> int:
        """How many numbers are missing before this one; none before a sender's first."""
        last = self._last.get(sender)
        if last is None:
            if len(self._last) >= self._senders:
                self._last.popitem(last=False)
            self._last[sender] = sequence
            return 0
        self._last.move_to_end(sender)
        if sequence <= last:
            return 0
        self._last[sender] = sequence
        return sequence - last - 1
