"""Taking a lock only if it is free, so that no handler of a signal leaves it taken for ever."""

from __future__ import annotations

import threading
from typing import Final

_NO_WAIT: Final = (False,)


def tried(lock: threading.Lock, got: list[bool]) -> bool:
    """Take a lock if it is free, and wait for nothing; return whether it was, and note that.

    Python runs handlers of signals between its own steps, so also between a call that takes a lock
    and the `try` behind it. Here both are one step of C: wherever a handler raises, `got` has True,
    or the lock was not taken. Call it in the `try` whose `finally` releases what `got` says.
    """
    got.extend(map(lock.acquire, _NO_WAIT))
    return got[0]
