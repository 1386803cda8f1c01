"""`RefusedBrokers`: the brokers that refused our credentials, and are left alone for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from miros_mesh.address import Endpoint

# Long enough that a wrong password fills no log of a broker and locks no account.
PAUSE_S = 600.0
REMEMBERED = 4096


class RefusedBrokers:
    """Shared by the scouts of a node; safe to call from any thread."""

    def __init__(self, pause_s: float = PAUSE_S, now: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._now = now
        # Guards `_until`: until when each broker is left alone.
        self._lock = threading.Lock()
        self._until: OrderedDict[Endpoint, float] = OrderedDict()

    def add(self, endpoint: Endpoint) -> None:
        """Leave a broker alone for `pause_s` from now; of too many the oldest is forgotten."""
        with self._lock:
            self._until[endpoint] = self._now() + self._pause_s
            self._until.move_to_end(endpoint)
            if len(self._until) > REMEMBERED:
                self._until.popitem(last=False)

    def forget(self) -> None:
        """Leave no broker alone any more: our credentials are others now."""
        with self._lock:
            self._until.clear()

    def __contains__(self, endpoint: Endpoint) -> bool:
        with self._lock:
            return self._until.get(endpoint, 0.0) > self._now()
