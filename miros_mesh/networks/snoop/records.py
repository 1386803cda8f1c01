"""The snoop networks: structured records of what every chart does."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Literal

import msgspec

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.network import Network
from miros_mesh.networks.order.streams import Gaps
from miros_mesh.networks.snoop.watchers import Watchers
from miros_mesh.observer import Observer
from miros_mesh.text import encodable, logger_of, printable
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

Kind = Literal["trace", "spy", "scribble"]

_OWN, _OTHER, _RESET = "\033[94m", "\033[95m", "\033[0m"


class Step(msgspec.Struct, frozen=True, gc=False):
    """One thing that a chart did; a record adds which chart, and the number in its stream."""

    kind: Kind
    time: float
    text: str
    signal: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    event_id: str | None = None
    cause: str | None = None


class SnoopNetwork(Watchers[SnoopRecord]):
    """One snoop network of a node: sends its charts' records, shows all charts' to its watchers."""

    def __init__(
        self,
        network: Network[SnoopRecord],
        identity: Identity,
        routing_key: str,
        observer: Observer,
    ) -> None:
        super().__init__()
        self.network = network
        self.routing_key = routing_key
        self.numbering = threading.Lock()
        """To be held for `number`, and on until what has the numbers stands in its queue."""
        # These two behind that lock.
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._recorded: set[str] = set()
        self._identity = identity
        self._observer = observer
        self.also: Callable[[Sequence[SnoopRecord]], object] | None = None
        """Called with what was sent, for who hears no frames."""

    def begin(self, chart: str) -> None:
        """Take records of a chart from now on."""
        with self.numbering:
            self._recorded.add(chart)

    def end(self, chart: str) -> None:
        """Take no more records of a chart: none that another thread is about to make, either."""
        with self.numbering:
            self._recorded.discard(chart)

    def number(self, chart: str, amount: int) -> int:
        """Use up that many of the chart's next numbers; return the first.

        0 when no records of the chart are taken, and then none is used up.
        """
        if chart not in self._recorded:
            return 0
        first = self._numbers[chart] + 1
        self._numbers[chart] += amount
        return first

    def records(self, chart: str, first: int, steps: Iterable[Step]) -> list[SnoopRecord]:
        """Make records of a chart's steps, numbered from `first`."""
        return [_record(self._identity, chart, first + at, step) for at, step in enumerate(steps)]

    def send(self, records: Sequence[SnoopRecord]) -> None:
        """Put records into the outbox; one that cannot travel leaves a gap, and is logged."""
        for record, error in self.network.send_all(self.routing_key, records):
            logger.warning("chart %s: a snoop record was not sent: %s", record.chart, error)
        if self.also:
            self.also(records)

    def receiver(self) -> Callable[[Delivery], None]:
        """Return what takes the deliveries of a queue, from its declaration on.

        It shows their records, but not the node's own: they were shown when they were sent. Numbers
        that are missing in a chart's stream are told to the observer.
        """
        # Of each queue anew: what was sent between two of them was not owed.
        return partial(self._receive, Gaps(), self.network.freshness())

    def _receive(self, gaps: Gaps, freshness: Freshness, delivery: Delivery) -> None:
        if self.network.is_echo(delivery):
            delivery.ack()
            return
        records = self.network.open(delivery, freshness).messages
        own = self._identity.incarnation
        # Also without own records of a frame that `is_echo` has forgotten, and without those that
        # came before.
        others = [
            record for record in records if record.incarnation != own and self._is_new(record, gaps)
        ]
        self.show(others)
        if records:
            delivery.ack()

    def _is_new(self, record: SnoopRecord, gaps: Gaps) -> bool:
        missing = gaps.before((record.incarnation, record.chart), record.sequence)
        network = self.network.name
        if missing is None:
            self._observer.dropped(network=network, reason="duplicate", events=1)
            return False
        if missing:
            self._observer.gap(network=network, sender=record.chart, missing=missing)
        return True


def render(record: SnoopRecord, *, own: bool = False, color: bool = False) -> str:
    """Return a record as one line, as miros-rabbitmq printed it, in the reader's time zone.

    Control characters of a foreign name or text are escaped and never reach the terminal.
    """
    name = printable(record.chart)
    if color:
        name = f"{_OWN if own else _OTHER}{name}{_RESET}"
    if record.kind == "spy":
        return f" [+s] {name} {printable(record.text)}"
    # Never out of range: the codec lets no time through that a datetime cannot hold.
    stamp = datetime.fromtimestamp(record.time).isoformat(" ", "microseconds")  # noqa: DTZ006
    mark = "# " if record.kind == "scribble" else ""
    return f" [+t] [{stamp}] [{name}] {mark}{printable(record.text)}"


# What a program scribbles, and how it names its states, may hold what no frame can carry, as the
# name of a file does that is no UTF-8. Escaped here, a record is shown everywhere as it is at home.
def _record(identity: Identity, chart: str, sequence: int, step: Step) -> SnoopRecord:
    return SnoopRecord(
        identity.node,
        chart,
        identity.incarnation,
        sequence,
        step.kind,
        step.time,
        encodable(step.text),
        _named(step.signal),
        _named(step.from_state),
        _named(step.to_state),
        step.event_id,
        step.cause,
    )


def _named(name: str | None) -> str | None:
    return None if name is None else encodable(name)
