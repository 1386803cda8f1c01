"""Faults by script: what a test has the broker of a `MemoryMesh` do to events on their way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from miros_mesh.address import topic_matches, validate_routing_pattern
from miros_mesh.embedded.memory import Publication
from miros_mesh.embedded.message import with_headers
from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER
from miros_mesh.timing.clock import Clock


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event on its way into the broker, as a fault sees it."""

    signal: str
    node: str
    chart: str
    topic: str
    """What it was sent under; empty when it is for one chart alone."""
    to: str
    """That chart, as "node/chart"; else empty."""
    _read: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def sender(self) -> str:
        """Who sent it, as "node/chart"."""
        return f"{self.node}/{self.chart}"

    @property
    def payload(self) -> Any:
        """What it carries, read anew at each look."""
        return self._read()


What: TypeAlias = str | Callable[[SentEvent], object] | None
"""Which events a fault is for: those of a signal, those of which a function says so, or all."""

Split: TypeAlias = Callable[[Publication], Sequence[tuple[SentEvent, Publication]]]
"""Says which events of programs a publication holds, each with a publication of that alone."""
Where: TypeAlias = tuple[str | None, str | None, str | None]
"""Sender, topic and receiver of the events that are meant."""
Act: TypeAlias = Callable[["Fault", Publication], Iterable[Publication]]
"""Returns what the broker stores at once in place of a publication."""

_IN_TURN: Final = slice(None)
_REVERSED: Final = slice(None, None, -1)


class Fault:
    """One line of the script, from the call that made it until it has struck often enough."""

    def __init__(
        self,
        script: Faults,
        act: Act,
        what: What,
        where: Where,
        times: int | None,
        order: slice,
    ) -> None:
        self._script = script
        self._act = act
        self._what = what
        self._sender, self._topic, self._to = where
        if self._topic is not None:
            validate_routing_pattern(self._topic)
        self._left = times
        self._order = order
        # The next two change under the lock of the script.
        self.held: list[Publication] = []
        """What waits at the broker to be stored."""
        self._struck: list[SentEvent] = []

    @property
    def struck(self) -> Sequence[SentEvent]:
        """The events that it has met until now, in their order."""
        return tuple(self._struck)

    def lift(self) -> None:
        """End it, and let go what it holds; what was delayed still comes at its time."""
        self._script.end(self)

    def strike(self, event: SentEvent, publication: Publication) -> Iterable[Publication] | None:
        """Return what is stored in place of an event; None where it is not meant."""
        if self._left == 0 or not self._is_meant(event):
            return None
        if self._left is not None:
            self._left -= 1
        self._struck.append(event)
        return self._act(self, publication)

    def let_go(self) -> Sequence[Publication]:
        """Return what was held, in the order in which it is to be stored, and hold it no longer."""
        held, self.held = self.held, []
        return held[self._order]

    @property
    def over(self) -> bool:
        """Whether it strikes no more, and holds nothing."""
        return self._left == 0 and not self.held

    def _is_meant(self, event: SentEvent) -> bool:
        if self._sender not in (None, event.node, event.sender):
            return False
        if self._to not in (None, event.to):
            return False
        if self._topic is not None and (event.to or not topic_matches(self._topic, event.topic)):
            return False
        what = self._what
        return bool(what(event)) if callable(what) else what in (None, event.signal)


class Faults:
    """The script. Each event that comes to the broker meets the first fault that is for it.

    An event of a node is meant, not the words of the library (its answers to who asks for a missing
    event, say). Thread-safe.

    | argument | the events that are meant |
    | --- | --- |
    | `what` | of a signal, or those for which a function of a `SentEvent` is true |
    | `sender` | of a node, or of one chart: "node/chart" |
    | `topic` | under a topic that matches this pattern |
    | `to` | for one chart alone: "node/chart" |
    | `times` | the next so many of them; without it all, until `lift` |
    """

    def __init__(self, store: Callable[[Publication], object], clock: Clock | None) -> None:
        self._store = store
        self._clock = clock
        # In the order in which they were made. Guards also what the faults hold and have left. A
        # function of the test's is called with it, and may change the script.
        self._script: list[Fault] = []
        self._changing = threading.RLock()
        self._error: Exception | None = None

    def lose(
        self,
        what: What = None,
        *,
        sender: str | None = None,
        topic: str | None = None,
        to: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Have events vanish at the broker, which confirms them to their sender all the same.

        Their receivers ask for them as soon as a later event of the sender shows that they are
        missing, so an event that is lost comes late.
        """
        return self._add(lambda *_: (), what, (sender, topic, to), times)

    def double(
        self,
        what: What = None,
        *,
        sender: str | None = None,
        topic: str | None = None,
        to: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Have each of the events come twice, as after a lost confirm: the second one says so."""

        def act(_: Fault, publication: Publication) -> Iterable[Publication]:
            again = with_headers(publication.properties, {AGAIN_HEADER: True})
            return publication, publication._replace(properties=again)

        return self._add(act, what, (sender, topic, to), times)

    def delay(
        self,
        what: What = None,
        *,
        by_s: float,
        sender: str | None = None,
        topic: str | None = None,
        to: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Have events come so much later, by the clock of the mesh.

        As `lose` until then: a later event of the sender has them asked for. Raises `ValueError`
        for a mesh without a clock of its own.
        """
        clock = self._clock
        if clock is None:
            raise ValueError("a delay goes by a clock: MemoryMesh(clock=HandClock())")

        def act(_: Fault, publication: Publication) -> Iterable[Publication]:
            clock.timer(by_s, partial(self._store, publication))
            return ()

        return self._add(act, what, (sender, topic, to), times)

    def hold(
        self,
        what: What = None,
        *,
        sender: str | None = None,
        topic: str | None = None,
        to: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Have events wait at the broker until `lift`, which lets them go in their order."""

        def act(fault: Fault, publication: Publication) -> Iterable[Publication]:
            fault.held.append(publication)
            return ()

        return self._add(act, what, (sender, topic, to), times)

    def reorder(
        self,
        what: What = None,
        *,
        of: int = 2,
        sender: str | None = None,
        topic: str | None = None,
        to: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Have the next `of` events come in reverse order, once or so many `times`.

        The first ones wait for the last one, or for `lift`.
        """

        def act(fault: Fault, publication: Publication) -> Iterable[Publication]:
            fault.held.append(publication)
            return fault.let_go() if len(fault.held) == of else ()

        events = None if times is None else times * of
        return self._add(act, what, (sender, topic, to), events, _REVERSED)

    def lift(self) -> None:
        """End all faults, and let go what they hold."""
        for fault in tuple(self._script):
            fault.lift()

    def end(self, fault: Fault) -> None:
        """End one fault, as its `lift`."""
        with self._changing:
            if fault in self._script:
                self._script.remove(fault)
            held = fault.let_go()
        for publication in held:
            self._store(publication)

    def pass_on(self, publication: Publication, split: Split) -> Iterable[Publication]:
        """Return what the broker stores in place of a publication, of which `split` says more."""
        # Without the lock: a mesh whose script is empty, which is most of them, pays nothing.
        if not self._script:
            return (publication,)
        parts = split(publication)
        with self._changing:
            fates = [(part, self._fate(event, part)) for event, part in parts]
        if all(stored is None for _, stored in fates):
            # As it came: what is meant by no fault stays in one frame.
            return (publication,)
        return [each for part, stored in fates for each in ((part,) if stored is None else stored)]

    def raise_error(self) -> None:
        """Raise what a function of the script has raised since the last call."""
        with self._changing:
            error, self._error = self._error, None
        if error:
            raise error

    def _fate(self, event: SentEvent, part: Publication) -> Iterable[Publication] | None:
        """Return what is stored in place of an event; None for what no fault is for."""
        for fault in tuple(self._script):
            try:
                stored = fault.strike(event, part)
            except Exception as error:  # noqa: BLE001 - raised by `raise_error`
                # On a thread of the library, whose end would look like a fault of its own.
                self._error = self._error or error
                self._script.remove(fault)
                continue
            if fault.over:
                self._script.remove(fault)
            if stored is not None:
                return stored
        return None

    def _add(
        self,
        act: Act,
        what: What,
        where: Where,
        times: int | None,
        order: slice = _IN_TURN,
    ) -> Fault:
        fault = Fault(self, act, what, where, times, order)
        with self._changing:
            self._script.append(fault)
        return fault
