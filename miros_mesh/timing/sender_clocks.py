"""How old something is that another host sent, whose clock may be ahead of this one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Clocks are put right while programs run, and it may have been this one that was wrong.
_KEPT_S: Final = 60.0
# Nodes whose clock is ahead.
_MOST_CLOCKS: Final = 1_000


@dataclass
class _Lead:
    """How far a clock is ahead, as it was seen in this minute and in the one before."""

    until: float
    """When (by the steady clock) this minute is over."""
    before: float = 0.0
    seen: float = 0.0


class SenderClocks:
    """How far the clocks of senders are ahead of this one, at least. Thread-safe.

    A clock that is ahead shows by what comes from the future. By one that is behind, everything is
    older than it is: hosts that go by the age of something need one time.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._leads: dict[str, _Lead] = {}
        # Guards `_leads`: charts' threads ask, and the subscriber's.
        self._lock = threading.Lock()

    def age_s(self, sender: str, sent_at: float) -> float:
        """Return how old it is what a sender says to have sent at that time (since 1970)."""
        age_s = self._wall() - sent_at
        if age_s >= 0 and sender not in self._leads:
            # Nearly always.
            return age_s
        with self._lock:
            return age_s + self._lead_s(sender, -age_s)

    def _lead_s(self, sender: str, ahead_s: float) -> float:
        """Note that a clock is so far ahead at least; return what the last two minutes show."""
        now = self._steady()
        lead = self._leads.pop(sender, None)
        if lead is None or now >= lead.until + _KEPT_S:
            lead = _Lead(now + _KEPT_S)
        elif now >= lead.until:
            lead = _Lead(now + _KEPT_S, before=lead.seen)
        lead.seen = max(lead.seen, ahead_s)
        lead_s = max(lead.seen, lead.before)
        if lead_s > 0:
            # At the end, where those are that were heard last.
            self._leads[sender] = lead
            if len(self._leads) > _MOST_CLOCKS:
                del self._leads[next(iter(self._leads))]
        return lead_s
