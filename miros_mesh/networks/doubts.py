"""Frames of which only their sender can say whether they are new, until it has said so.

A frame that was sealed shortly before its receiver listened is one of a sender whose clock is a
little behind, or an old one that somebody sends again. The sender knows when it has published the
frame, and the receiver for how long it listens: no clocks are compared.

What a sender sends meanwhile waits behind the frame in doubt, so that its events stay in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from miros_mesh.wire.envelope import MAX_RANGES

T = TypeVar("T")

MAX_WAITING: Final = 1_000
"""How many frames wait at most, of all senders together."""


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

    def add(self, sender: str, item: T, mark: int, now: float) -> None:
        """Let a frame wait; `mark` is 0 for one that is surely new."""
        self._waiting.setdefault(sender, deque()).append(_Waiting(item, mark, now))

    def ask(self, listening_s: float) -> dict[str, list[int]]:
        """Return marks to ask for, by sender, of a receiver that listens for so long.

        As many of each sender as one message has room for: the rest has its turn at the next call.
        """
        marks: dict[str, list[int]] = {}
        for sender, waiting in self._waiting.items():
            for each in islice((each for each in waiting if each.mark), MAX_RANGES):
                each.asked_s = listening_s
                marks.setdefault(sender, []).append(each.mark)
        return marks

    def answered(self, sender: str, asked_s: float, new: Collection[int]) -> list[Decided[T]]:
        """Take an answer to the question of that time; return what waits no longer, in order."""
        return self._decide(
            sender,
            lambda each: each.mark in new if each.asked_s == asked_s else None,
        )

    def expire(self, before: float) -> list[Decided[T]]:
        """Return, as old, what has waited since before a time; and what stood behind that."""
        decided: list[Decided[T]] = []
        for sender in list(self._waiting):
            decided += self._decide(sender, lambda each: False if each.since < before else None)
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
