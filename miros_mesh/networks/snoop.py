"""The snoop networks: structured records of what every chart does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.mesh import Identity
from miros_mesh.networks.network import Network
from miros_mesh.wire import SnoopRecord

Kind = Literal["trace", "spy", "scribble"]
Watcher = Callable[[SnoopRecord], None]

_OWN, _OTHER, _RESET = "\033[94m", "\033[95m", "\033[0m"


@dataclass(frozen=True)
class Step:
    """What a chart has to say of itself; the snoop network adds who and when in the stream."""

    kind: Kind
    time: float
    text: str
    signal: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    event_id: str | None = None
    cause: str | None = None


class Snoop:
    """One snoop network of a node: sends its charts' steps, shows everybody's to its watchers."""

    def __init__(self, network: Network[SnoopRecord], identity: Identity, routing_key: str) -> None:
        self.network = network
        self.routing_key = routing_key
        self._identity = identity
        self._watchers: dict[str, Watcher] = {}
        self._lock = threading.Lock()

    def watch(self, chart: str, watcher: Watcher) -> None:
        """Call with each record, once however many charts ask; the watcher must only enqueue."""
        with self._lock:
            self._watchers = {**self._watchers, chart: watcher}

    def unwatch(self, chart: str) -> None:
        """The chart no longer asks."""
        with self._lock:
            self._watchers = {c: w for c, w in self._watchers.items() if c != chart}

    def tell(self, chart: str, step: Step) -> None:
        """Send a step of a chart, and show it to the node's own watchers at once."""
        sent: list[SnoopRecord] = []

        def make(sequence: int) -> SnoopRecord:
            record = _record(self._identity, chart, sequence, step)
            sent.append(record)
            return record

        self.network.send(chart, self.routing_key, make)
        self._show(sent[-1])

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery; the node's own records were shown when they were sent."""
        records = self.network.open(delivery)
        for record in records:
            if record.incarnation != self._identity.incarnation:
                self._show(record)
        if records:
            delivery.ack()

    def _show(self, record: SnoopRecord) -> None:
        for watcher in set(self._watchers.values()):
            watcher(record)


def render(record: SnoopRecord, *, own: bool = False, color: bool = False) -> str:
    """A record as the ancestor printed it, one line; times are of the reader's time zone.

    Control characters of a foreign name or text are escaped and never reach the terminal.
    """
    name = printable(record.chart)
    if color:
        name = f"{_OWN if own else _OTHER}{name}{_RESET}"
    if record.kind == "spy":
        return f" [+s] {name} {printable(record.text)}"
    when = datetime.fromtimestamp(record.time, UTC).astimezone()
    stamp = when.strftime("%Y-%m-%d %H:%M:%S.%f")
    mark = "# " if record.kind == "scribble" else ""
    return f" [+t] [{stamp}] [{name}] {mark}{printable(record.text)}"


def printable(text: str) -> str:
    """The text with every control character escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _record(identity: Identity, chart: str, sequence: int, step: Step) -> SnoopRecord:
    return SnoopRecord(
        node=identity.node,
        chart=chart,
        incarnation=identity.incarnation,
        sequence=sequence,
        kind=step.kind,
        time=step.time,
        text=step.text,
        signal=step.signal,
        from_state=step.from_state,
        to_state=step.to_state,
        event_id=step.event_id,
        cause=step.cause,
    )
