"""Who wants to be shown what arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Watchers(Generic[T]):
    """The watchers of one network; a watcher must only enqueue."""

    def __init__(self) -> None:
        self._watchers: dict[str, Callable[[Sequence[T]], object]] = {}
        self._lock = threading.Lock()

    def watch(self, owner: str, watcher: Callable[[Sequence[T]], object]) -> None:
        """Call with all that is shown, once however many owners ask for the same watcher."""
        with self._lock:
            self._watchers = {**self._watchers, owner: watcher}

    def unwatch(self, owner: str) -> None:
        """The owner no longer asks."""
        with self._lock:
            self._watchers = {o: w for o, w in self._watchers.items() if o != owner}

    def show(self, messages: Sequence[T]) -> None:
        """Show messages to every watcher."""
        if messages:
            for watcher in set(self._watchers.values()):
                watcher(messages)
