"""What several receivers share: each hears some of it, in no order, and no copies."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from miros_mesh.networks.order.ranges import Range
from miros_mesh.networks.order.streams import Admission, Passed, Sender

T = TypeVar("T")


class Unordered(Generic[T]):
    """Knows the last `window` items, and takes all others at once; nothing is missed.

    It stands in the place of `Streams`. Not thread-safe.
    """

    forgotten = 0

    def __init__(self, window: int) -> None:
        self._window = window
        self._known: OrderedDict[tuple[Sender, int], None] = OrderedDict()

    def admit(
        self,
        sender: Sender,
        sequence: int,
        item: T,
        now: float,
        *,
        node: str = "",
        sent_at: float = 0.0,
        size_bytes: int = 0,
        others: Range | None = None,
    ) -> tuple[Admission, Sequence[T]]:
        """Take an item, unless it is known."""
        key = sender, sequence
        if key in self._known:
            return Admission.DUPLICATE, ()
        self._known[key] = None
        if len(self._known) > self._window:
            self._known.popitem(last=False)
        return Admission.NEW, (item,)

    def run(
        self, sender: Sender, first: int, count: int, now: float, sent_at: float, latest: float
    ) -> bool:
        """Take nothing by its first number: each item is known, or not, by its own."""
        return False

    def has(self, sender: Sender, sequence: int) -> bool:
        """Whether an item is known."""
        return (sender, sequence) in self._known

    def begin_anew(self, given_up: Iterable[tuple[Sender, int]]) -> None:
        """Forget these items, which others may get; if they come here, they are new."""
        for each in given_up:
            self._known.pop(each, None)

    def relieve(self, sender: Sender) -> Iterator[tuple[Sender, Passed[T]]]:
        """Hold nothing back, so that nothing has to be given up."""
        return iter(())

    def wants(self, sender: Sender, sequence: int) -> bool:
        """Wait for no number: others may have it."""
        return False

    def firsts(self, senders: Iterable[Sender]) -> dict[Sender, int]:
        """Know of no number from which on all would be owed."""
        return {}

    def passed(self) -> dict[Sender, int]:
        """Come nowhere: what is between two items went to others, or is yet to come."""
        return {}

    def unsure(self, sender: Sender) -> bool:
        """Be sure of all holes, since there are none."""
        return False

    def holes(self) -> dict[Sender, list[Range]]:
        """Miss no number: others may have it."""
        return {}

    def skip(self, sender: Sender, numbers: Iterable[Range]) -> Passed[T]:
        """Let nothing go: nothing is waited for."""
        return Passed(0, ())

    def others(self, sender: Sender, numbers: Iterable[Range]) -> Passed[T]:
        """Let nothing go: nothing is waited for."""
        return Passed(0, ())

    def pass_over(self, sender: Sender, last: int) -> Passed[T]:
        """Let nothing go: nothing is waited for."""
        return Passed(0, ())

    def pass_old(self, before: float) -> Iterator[tuple[Sender, Passed[T]]]:
        """Let nothing go: nothing is waited for."""
        return iter(())

    def expire(self, before: float) -> Iterator[tuple[Sender, Passed[T]]]:
        """Let nothing go: nothing is waited for."""
        return iter(())
