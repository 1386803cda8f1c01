"""Those who are shown what a network brings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Watchers(Generic[T]):
    """The watchers of one network, each under the name of its owner. Thread-safe.

    A watcher runs on the thread that shows, and must return at once.
    """

    def __init__(self) -> None:
        self._watchers: dict[str, Callable[[Sequence[T]], object]] = {}
        # Guards the exchange of `_watchers`, which is never changed itself: `show` needs no lock.
        self._lock = threading.Lock()

    def watch(self, owner: str, watcher: Callable[[Sequence[T]], object]) -> None:
        """Call a watcher with all that is shown; once, however many owners have the same one.

        It takes the place of the owner's former watcher.
        """
        with self._lock:
            self._watchers = {**self._watchers, owner: watcher}

    def unwatch(self, owner: str) -> None:
        """Forget the owner's watcher, if it has one."""
        with self._lock:
            self._watchers = {o: w for o, w in self._watchers.items() if o != owner}

    @property
    def watched(self) -> bool:
        """Whether there is a watcher."""
        return bool(self._watchers)

    def show(self, messages: Sequence[T]) -> None:
        """Call every watcher with these messages; with none, call none."""
        if messages:
            # Two charts that print share one method of the console, and each line appears once.
            for watcher in set(self._watchers.values()):
                watcher(messages)
