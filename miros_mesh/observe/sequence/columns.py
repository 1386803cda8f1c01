"""The states of one chart as columns of text, and its arrows between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from miros_mesh.observe.sequence.model import Arrow
from miros_mesh.observe.sequence.names import shown
from miros_mesh.text import printable

# Columns stand at equal distances, as the ancestor's, where a terminal has the room.
PAGE_WIDTH = 80
# A longer name would push the columns off any screen.
_NAME = 40


def call(arrow: Arrow) -> str:
    """Write the signal as the trace does."""
    return f"{shown(arrow.signal, _NAME)}()"


def transition(arrow: Arrow) -> str:
    """Write the states as the trace does."""
    return f"{shown(arrow.from_state, _NAME)}->{shown(arrow.to_state, _NAME)}"


class Columns:
    """The states of a chart side by side, in gaps as wide as the words between them.

    `_at` has the column of each state's line, `_gaps` the blanks between one line and the next.
    """

    def __init__(self, states: Sequence[str], arrows: Sequence[Arrow]) -> None:
        self._names = [shown(state, _NAME) for state in states]
        self._place = {state: place for place, state in enumerate(states)}
        # Behind the last state is room for its transitions to itself.
        gaps = [max(1, _between(a, b)) for a, b in pairwise(self._names)]
        for arrow in arrows:
            gap, room = self._needs(arrow)
            # The gap behind the last state has no state at its other side, and needs no width.
            if gap < len(gaps):
                gaps[gap] = max(gaps[gap], room)
        widest = max(gaps, default=0)
        # Otherwise each gap keeps its own width, and long names widen their own gaps alone.
        if (widest + 1) * len(gaps) + widest <= PAGE_WIDTH:
            gaps = [widest] * len(gaps)
        self._gaps = gaps
        first = self._names[0]
        # The first name is centred over its line and must not begin left of the page.
        margin = max(len(first) // 2, gaps[0] // 2 if gaps else 0)
        self._at = [margin]
        for gap in gaps:
            self._at.append(self._at[-1] + gap + 1)

    def drawing(self, arrows: Sequence[Arrow]) -> Iterator[str]:
        """Draw the names of the states, and below them two lines an arrow."""
        header = _Row()
        for at, name in zip(self._at, self._names, strict=True):
            header.put(at - len(name) // 2, name)
        yield str(header)
        for arrow in arrows:
            yield from self._lines(arrow)

    def _needs(self, arrow: Arrow) -> tuple[int, int]:
        """Return the gap that holds the arrow's signal, and how wide it must be."""
        source, target = self._ends(arrow)
        if source == target:
            return source, max(len(call(arrow)) + 2, len(f"({arrow.number})") + 4)
        room = max(len(call(arrow)) + 4, len(f"({arrow.number})") + 2)
        return (source if source < target else source - 1), room

    def _ends(self, arrow: Arrow) -> tuple[int, int]:
        return self._place[arrow.from_state], self._place[arrow.to_state]

    def _lines(self, arrow: Arrow) -> Iterator[str]:
        source, target = self._ends(arrow)
        if source == target:
            yield from self._loop(arrow, self._at[source])
            return
        # An arrow over several states has its words in the gap next to where it begins.
        gap, _ = self._needs(arrow)
        line, below = self._bars(), self._bars()
        low, high = min(source, target), max(source, target)
        for place in range(low, high):
            line.put(self._at[place], "+" + "-" * self._gaps[place])
        line.put(self._at[high], "|")
        # Beside the target's line, which stays whole.
        line.put(self._at[target] + (1 if target == low else -1), "<" if target == low else ">")
        self._center(line, gap, call(arrow))
        self._center(below, gap, f"({arrow.number})")
        yield str(line)
        yield str(below)

    def _center(self, row: _Row, gap: int, words: str) -> None:
        row.put(self._at[gap] + 1 + (self._gaps[gap] - len(words)) // 2, words)

    def _loop(self, arrow: Arrow, at: int) -> Iterator[str]:
        for begin, words in (
            (at, "+"),
            (at, f" \\ ({arrow.number})"),
            (at, f" {call(arrow)}"),
            (at, " /"),
            (at, "<"),
        ):
            row = self._bars()
            row.put(begin, words)
            yield str(row)

    def _bars(self) -> _Row:
        row = _Row()
        for at in self._at:
            row.put(at, "|")
        return row


def _between(left: str, right: str) -> int:
    """Return the gap that keeps two names, centred over their columns, two blanks apart."""
    return (len(left) - len(left) // 2) + len(right) // 2 + 1


class _Row:
    """A line that words are put into at their columns."""

    def __init__(self) -> None:
        self._chars: list[str] = []

    def put(self, at: int, words: str) -> None:
        # No blanks where the row is long enough: a negative number of them is none.
        self._chars += " " * (at + len(words) - len(self._chars))
        self._chars[at : at + len(words)] = words

    def __str__(self) -> str:
        # The names are escaped already; this holds whatever is put in later.
        return printable("".join(self._chars))
