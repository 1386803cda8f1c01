"""The events of a frame by their senders, found out once for all charts of a node that get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from miros_mesh.wire.envelope import RESERVED_PREFIX, SENT_AGAIN, Envelope, RoutedEnvelope

Readers = dict[int, Callable[[], Any]]
"""By the identity of an event, what reads its payload again."""


class Run:
    """Events of one chart, which stand one behind the other in a frame and in its numbers.

    One that is not `plain` has one event alone, of which more has to be asked than its number.
    """

    __slots__ = ("events", "first", "ids", "last_sent_at", "latest", "plain", "stream", "word")

    def __init__(self, events: Sequence[Envelope], *, plain: bool) -> None:
        first = events[0]
        self.events = events
        self.plain = plain
        self.stream = first.incarnation, first.chart
        self.first = first.sequence
        self.ids = [each.id for each in events]
        self.latest = max([each.sent_at for each in events])
        """The latest time at which one of them was sent, by the sender's clock."""
        self.last_sent_at = events[-1].sent_at
        self.word = is_word(first)
        """Whether it is no event, but a word of the library."""


class Batch:
    """What is known of the messages of one frame."""

    __slots__ = ("readers", "runs", "senders")

    def __init__(self, messages: Sequence[Envelope]) -> None:
        self.runs = _runs_of(messages)
        self.senders = frozenset(run.stream for run in self.runs)
        self.readers: Readers = {}
        """What charts have found out of the payloads (`Mesh.payload_again`)."""


def is_word(envelope: Envelope) -> bool:
    """Whether it is a word of the library, which reaches no chart."""
    return envelope.signal.startswith(RESERVED_PREFIX)


def _runs_of(messages: Sequence[Envelope]) -> list[Run]:
    runs: list[Run] = []
    begun: list[Envelope] = []
    incarnation, chart, number = "", "", 0
    for each in messages:
        plain = _is_plain(each)
        if (
            not (plain and begun)
            or each.sequence != number
            or each.chart != chart
            or each.incarnation != incarnation
        ):
            if begun:
                runs.append(Run(begun, plain=True))
            incarnation, chart, begun = each.incarnation, each.chart, []
        if plain:
            begun.append(each)
            number = each.sequence + 1
        else:
            runs.append(Run([each], plain=False))
    if begun:
        runs.append(Run(begun, plain=True))
    return runs


def _is_plain(event: Envelope) -> bool:
    if type(event) is RoutedEnvelope and event.base is not None:
        return False
    return not (is_word(event) or event.incarnation.startswith(SENT_AGAIN))
