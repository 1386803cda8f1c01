"""Which brokers refused our credentials, so that nobody tries them again and again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from miros_mesh.address import Endpoint

REMEMBERED = 4096


class RefusedBrokers:
    """Shared by the scouts of a node; safe to call from any thread."""

    def __init__(self, pause_s: float = 600.0, now: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._now = now
        self._until: OrderedDict[Endpoint, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, endpoint: Endpoint) -> None:
        """A broker has just refused us."""
        with self._lock:
            self._until[endpoint] = self._now() + self._pause_s
            self._until.move_to_end(endpoint)
            if len(self._until) > REMEMBERED:
                self._until.popitem(last=False)

    def __contains__(self, endpoint: Endpoint) -> bool:
        with self._lock:
            return self._until.get(endpoint, 0.0) > self._now()
