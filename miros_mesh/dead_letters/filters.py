"""Which dead letters are meant: by shell patterns, and by when they were set aside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, get_args

from miros_mesh.dead_letters.letter import Letter, Place
from miros_mesh.errors import SelectionError

_TIMES = ("since", "before")


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Shell patterns (`*`, `?`, `[ab]`) by what they are compared with; none takes all.

    A letter must fit one pattern of each field that has any. What is not known of a letter fits
    no pattern and no time, so a sealed one is found by `id` and `place` alone.
    """

    id: frozenset[str] | None = None
    """Whole ids, of which a letter has one: no patterns, and none of them takes none."""
    place: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    """Of who set it aside."""
    chart: tuple[str, ...] = ()
    """Likewise."""
    sender: tuple[str, ...] = ()
    """The chart that sent the event."""
    signal: tuple[str, ...] = ()
    topic: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    """The broker that refused it, as in `Letter.peer`."""
    since: float = -math.inf
    """Set aside at that time or later, in seconds since the epoch."""
    before: float = math.inf
    """Set aside earlier than that."""

    @classmethod
    def of(cls, **given: str | Iterable[str] | float | None) -> Filters:
        """Make filters of single patterns, or of several each; None is no filter.

        Raises `SelectionError` for a place that there is not.
        """
        made = cls(
            **{name: _normal(name, each) for name, each in given.items() if each is not None}
        )
        if not made.places:
            raise SelectionError((f"place must be one of {', '.join(get_args(Place))}",))
        return made

    @property
    def places(self) -> Sequence[Place]:
        """Where letters that fit may be."""
        return [each for each in get_args(Place) if _fits(self.place, each)]

    def has(self, letter: Letter) -> bool:
        """Tell whether the letter is meant."""
        return (
            (self.id is None or letter.id in self.id)
            and self._has_time(letter.time)
            and all(_fits(patterns, text) for patterns, text in self._pairs(letter))
        )

    def _pairs(self, letter: Letter) -> Sequence[tuple[tuple[str, ...], str]]:
        return (
            (self.place, letter.place),
            (self.reason, letter.reason),
            (self.node, letter.node),
            (self.chart, letter.chart),
            (self.sender, letter.sender_chart),
            (self.signal, letter.signal),
            (self.topic, letter.topic),
            (self.peer, letter.peer),
        )

    def _has_time(self, time: float | None) -> bool:
        if time is None:
            return (self.since, self.before) == (-math.inf, math.inf)
        return self.since <= time < self.before


def _normal(name: str, given: Any) -> Any:
    if name in _TIMES:
        return float(given)
    # A string is a sequence of strings too: its letters would be the patterns.
    several = (given,) if isinstance(given, str) else tuple(given)
    return frozenset(several) if name == "id" else several


def _fits(patterns: tuple[str, ...], text: str) -> bool:
    return not patterns or (bool(text) and any(fnmatchcase(text, each) for each in patterns))
