"""Frames of which only their sender can say whether they are new, until it has said so.

A frame that was sealed shortly before its receiver listened is one of a sender whose clock is a
little behind, or an old one that somebody sends again. The sender knows when it has published the
frame, and the receiver for how long it listens: no clocks are compared.

What a sender sends meanwhile waits behind the frame in doubt, so that its events stay in order.

What waits is not acknowledged, and the broker gives a chart only so much ahead. So that recorded
frames of senders which are gone hold up no others, a copy takes the place of the first, and of a
sender that did not answer few frames wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from miros_mesh.wire.envelope import MAX_RANGES

T = TypeVar("T")

MAX_WAITING: Final = 1_000
"""How many frames wait at most, of all senders together."""
MAX_OF_SILENT: Final = 10
"""How many frames in doubt wait of a sender that has left a question without an answer."""
_MOST_SILENT: Final = 1_000


@dataclass
class _Waiting(Generic[T]):
    """A frame that waits; `mark` is 0 for one that is surely new and stands behind others."""

    item: T
    mark: int
    since: float
    asked_s: float | None = None
    """For how long the receiver had listened when it asked last."""


class Decided(NamedTuple, Generic[T]):
    """A frame that waits no longer."""

    item: T
    new: bool


class Doubts(Generic[T]):
    """The frames in doubt, by the incarnation of their sender.

    Nothing here is thread-safe, but to ask whether there are any.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Waiting[T]]] = {}
        self._silent: OrderedDict[str, None] = OrderedDict()
        """Senders that did not answer, and have not since."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def items(self) -> Iterator[T]:
        """Return what waits, of one sender after the other."""
        for waiting in self._waiting.values():
            yield from (each.item for each in waiting)

    def holds(self, sender: str) -> bool:
        """Whether something of a sender waits."""
        return sender in self._waiting

    def has_room(self, sender: str, *, sure: bool) -> bool:
        """Whether one more frame of a sender may wait."""
        if len(self) >= MAX_WAITING:
            return False
        # What is surely new of it is no reason to refuse anything.
        waits = self._waiting.get(sender, ())
        return sure or sender not in self._silent or len(waits) < MAX_OF_SILENT

    def exchanged(self, sender: str, item: T, mark: int) -> T | None:
        """Let a copy take the place of a frame that waits; return that one, if there is one."""
        for each in self._waiting.get(sender, ()):
            if each.mark == mark:
                former, each.item = each.item, item
                return former
        return None

    def add(self, sender: str, item: T, mark: int, now: float) -> None:
        """Let a frame wait; `mark` is 0 for one that is surely new."""
        self._waiting.setdefault(sender, deque()).append(_Waiting(item, mark, now))

    def ask(self, listening_s: float, most: int = MAX_RANGES) -> dict[str, list[int]]:
        """Return marks to ask for, by sender, of a receiver that listens for so long.

        So many of each sender at most as one message has room for: the rest has its turn at the
        next call.
        """
        marks: dict[str, list[int]] = {}
        for sender, waiting in self._waiting.items():
            for each in islice((each for each in waiting if each.mark), most):
                each.asked_s = listening_s
                marks.setdefault(sender, []).append(each.mark)
        return marks

    def answered(self, sender: str, asked_s: float, new: Collection[int]) -> list[Decided[T]]:
        """Take an answer to the question of that time; return what waits no longer, in order."""
        self._silent.pop(sender, None)
        return self._decide(
            sender,
            lambda each: each.mark in new if each.asked_s == asked_s else None,
        )

    def expire(self, before: float) -> list[Decided[T]]:
        """Return, as old, what has waited since before a time; and what stood behind that."""
        decided: list[Decided[T]] = []
        for sender in list(self._waiting):
            gone = self._decide(sender, lambda each: False if each.since < before else None)
            if gone:
                self._silent[sender] = None
            decided += gone
        while len(self._silent) > _MOST_SILENT:
            self._silent.popitem(last=False)
        return decided

    def clear(self) -> None:
        """Forget what waits: its deliveries stay as they are."""
        self._waiting.clear()

    def _decide(
        self, sender: str, verdict: Callable[[_Waiting[T]], bool | None]
    ) -> list[Decided[T]]:
        waiting = self._waiting.get(sender, deque())
        decided: list[Decided[T]] = []
        while waiting:
            new = True if not waiting[0].mark else verdict(waiting[0])
            if new is None:
                break
            decided.append(Decided(waiting.popleft().item, new))
        if not waiting:
            self._waiting.pop(sender, None)
        return decided
