"""What other threads want done by a thread that polls, in their order; some of it may wait."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Far less than people notice, and more than a request and its reply need.
_SOON_S: Final = 0.010


class TaskLine(Generic[T]):
    """Tasks in the order in which they were posted; those that may wait wake the thread not at all.

    A task is called with what its thread gives all of them, a connection say.

    Who wakes a thread takes Python's lock from himself, just when he has something to do. So the
    thread says by `expect` that it looks soon anyway, and what is posted meanwhile with `post_soon`
    waits for that, 10 ms at most.

    Any thread may post; all else is for the thread that does it.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        # Any thread appends, one alone takes: both are single steps of a deque.
        self._tasks: deque[Callable[[T], object]] = deque()
        self._waiting = 0
        """About how many of them may wait: threads count it without a lock."""
        self._urgent = False
        self.due_at = math.inf
        """When (`time.monotonic`) the thread looks; infinite unless it said that it will."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def urgent(self) -> bool:
        """Whether there is something that does not wait."""
        return self._urgent and bool(self._tasks)

    def post(self, task: Callable[[T], object]) -> None:
        """Have something done as soon as can be, and first all that was posted before."""
        # In this order, here and below: `take` resets what says when before it looks what is there.
        self._tasks.append(task)
        self._urgent = True
        self._wake()

    def post_soon(self, task: Callable[[T], object], at_most: int) -> None:
        """Have something done in a moment: at once where about so many wait already."""
        self._tasks.append(task)
        self._waiting += 1
        if self._waiting >= at_most or self.due_at == math.inf:
            self._urgent = True
            self._wake()

    def expect(self) -> None:
        """Look soon, before `due_at`: something may be posted that can wait until then."""
        if self.due_at == math.inf:
            self.due_at = time.monotonic() + _SOON_S

    def take(self) -> Iterator[Callable[[T], object]]:
        """Hand out what is there now; what is posted meanwhile is for the next time."""
        self._urgent, self._waiting, self.due_at = False, 0, math.inf
        for _ in range(len(self._tasks)):
            yield self._tasks.popleft()
