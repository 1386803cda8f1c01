"""What `make bench ARGS=peers` came to: a table, the ratios, charts, and a part of the docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import plots
from pages import write_part
from report import laid_out
from talks import Rounds

STOCK, OWN = "stock miros", "networked post_fifo"
MESH, EMBEDDED = "miros_mesh, RabbitMQ", "miros_mesh, embedded"
KOMBU, BARE = "Kombu, confirmed", "Kombu, unconfirmed"
AIO_PIKA, FASTSTREAM, DRAMATIQ, NAMEKO = "aio-pika by 100", "FastStream", "dramatiq", "nameko"
NATS, REDIS = "NATS JetStream", "Redis streams"
OURS = frozenset({OWN, MESH, EMBEDDED})
# What the others are compared with.
RATIOS = (STOCK, NATS, KOMBU)
IMAGES = Path("images")
_MIB = 1024 * 1024
# One process is both sides; and the embedded broker is a part of both.
_ONE_PROCESS = frozenset({STOCK, OWN})
_NO_SERVER = _ONE_PROCESS | {EMBEDDED}
_ONCE = "exactly once while both processes live"
FRAMES = (
    "A frame of miros_mesh carries up to 100 events of a burst and is confirmed as one; Kombu "
    "confirms each message."
)


@dataclass(frozen=True)
class Promise:
    """What a column guarantees, and how its library was set up for it."""

    confirmed: str
    stored: str
    encrypted: bool
    in_order: bool
    acknowledged: str
    delivery: str
    settings: str

    def brief(self) -> str:
        """In a few words, for a bar of a chart."""
        words = [self.delivery, self.confirmed, self.stored]
        words += ["encrypted"] if self.encrypted else []
        words += ["in order"] if self.in_order else []
        return ", ".join(word for word in words if word != "no")


_AMQP_STORED = "persistent"
PROMISES = {
    STOCK: Promise(
        "no", "no", False, True, "no", "in one process",
        "`post_fifo` from the main thread, 200 to 400 events in the FIFO; `@spy_on`",
    ),
    OWN: Promise(
        "no", "no", False, True, "no", "in one process",
        "the same with a `NetworkedActiveObject` on the embedded broker",
    ),
    MESH: Promise(
        "confirmed", _AMQP_STORED, True, True, "after the handler", _ONCE,
        "`transmit` to a chart with `@spy_on`, as installed",
    ),
    EMBEDDED: Promise(
        "committed", "SQLite, fsync at checkpoints", True, True, "after the handler",
        _ONCE, "`transmit` to a chart with `@spy_on`, as installed",
    ),
    KOMBU: Promise(
        "confirmed each", _AMQP_STORED, False, True, "after the handler", "at least once",
        "`confirm_publish`, a durable queue, `delivery_mode=2`, prefetch 100",
    ),
    BARE: Promise(
        "no", "no", False, True, "no", "at most once",
        "a transient queue, `delivery_mode=1`, `no_ack`",
    ),
    AIO_PIKA: Promise(
        "confirmed", _AMQP_STORED, False, False, "after the handler", "at least once",
        "100 publications gathered, `publisher_confirms`, prefetch 100",
    ),
    FASTSTREAM: Promise(
        "confirmed", _AMQP_STORED, False, False, "after the handler", "at least once",
        "100 publications gathered, `persist=True`, prefetch 100",
    ),
    DRAMATIQ: Promise(
        "confirmed each", _AMQP_STORED, False, False, "after the handler", "at least once",
        "`confirm_delivery=True`, a worker of 8 threads, no results",
    ),
    NAMEKO: Promise(
        "confirmed each", _AMQP_STORED, False, False, "after the handler", "at least once",
        "`event_dispatcher` to an `event_handler` of 10 workers, as installed",
    ),
    NATS: Promise(
        "acknowledged", "file, fsync each 2 min", False, True, "after the handler",
        "at least once",
        "`publish_async` by 100, a stream in a file, a push consumer with `manual_ack`",
    ),
    REDIS: Promise(
        "answered", "file, fsync each s", False, True, "after the handler", "at least once",
        "`XADD` in pipelines of 100, `appendonly yes`, `everysec`; a group, `XACK` by 100",
    ),
}  # fmt: skip

HEAD = (
    "events/s",
    "idle, median",
    "idle, p99",
    "CPU sender",
    "receiver",
    "broker",
    "sender's peak",
)


def cells(name: str, rounds: Rounds) -> list[str]:
    """Return the figures of a column, in the order of `HEAD`; a dash for a process it has not."""
    receiver, broker = (_seconds(rounds.median(f"{who}_cpu_s")) for who in ("receiver", "broker"))
    return [
        rate(rounds.median("events_per_s")),
        milliseconds(rounds.latency_s()),
        milliseconds(rounds.p99_s()),
        _seconds(rounds.median("sender_cpu_s")),
        "-" if name in _ONE_PROCESS else receiver,
        "-" if name in _NO_SERVER else broker,
        f"{rounds.median('sender_peak_bytes') / _MIB:,.0f} MiB",
    ]


def table(columns: Mapping[str, Rounds]) -> str:
    """A line for each library: medians, with the lowest and the highest round of its rate."""
    rows = [["", *HEAD, "lowest to highest round"]]
    for name, rounds in columns.items():
        rates = [burst.events_per_s for burst in rounds.bursts]
        rows.append([name, *cells(name, rounds), f"{rate(min(rates))} to {rate(max(rates))} /s"])
    return laid_out(rows)


def ratios(columns: Mapping[str, Rounds]) -> str:
    """Rates and idle latencies as multiples of those that ours are measured by."""
    bases = [name for name in (*RATIOS, BARE) if name in columns]
    rows = [["times the rate of", *bases]]
    rows += _multiples(columns, bases, lambda rounds: rounds.median("events_per_s"))
    rows += [[""] * (len(bases) + 1), ["times the idle latency of", *bases]]
    rows += _multiples(columns, bases, Rounds.latency_s)
    return laid_out(rows)


def promises(columns: Mapping[str, Rounds]) -> str:
    """What each of them guarantees."""
    return "\n".join(f"{name}: {PROMISES[name].brief()}" for name in columns)


def write_docs(docs: Path, columns: Mapping[str, Rounds], where: str) -> None:
    """Put the figures of a run in the place of those of an earlier one, as tables and charts."""
    write_part(docs / "benchmarks.md", "peers", markdown(columns, where))
    for name, title, value, show in (
        ("peers-rate", "Events of 100 B per second", _rate_of, lambda v: f"{v:,.0f}/s"),
        ("peers-latency", "Idle latency, median", Rounds.latency_s, milliseconds),
        ("peers-cpu", "CPU of sender, receiver and broker for 10,000 events", _cpu_of, _seconds),
    ):
        _draw(docs / IMAGES / f"{name}.svg", title, columns, value, show)


def markdown(columns: Mapping[str, Rounds], where: str) -> str:
    """The figures and what they stand for, as they are in the docs."""
    figures = [["", *HEAD]] + [[name, *cells(name, rounds)] for name, rounds in columns.items()]
    meant = [["", "guarantees", "acknowledged", "set up"]]
    for name in columns:
        promise = PROMISES[name]
        meant.append([name, promise.brief(), promise.acknowledged, promise.settings])
    rounds = max(len(each.bursts) for each in columns.values())
    return (
        f"{where}. Medians of {rounds} rounds; CPU is for 10,000 events.\n\n{_piped(figures)}\n\n"
        f"{FRAMES}\n\n"
        f"![Events per second](images/peers-rate.svg)\n\n"
        f"![Idle latency](images/peers-latency.svg)\n\n"
        f"![CPU for 10,000 events](images/peers-cpu.svg)\n\n{_piped(meant)}\n\n"
        f"```text\n{ratios(columns)}\n```"
    )


def rate(per_s: float) -> str:
    """Events per second, in three figures."""
    return f"{float(f'{per_s:.3g}'):,.0f}"


def milliseconds(seconds: float) -> str:
    """A time of an event."""
    return f"{seconds * 1000:.2f} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _rate_of(rounds: Rounds) -> float:
    return rounds.median("events_per_s")


def _cpu_of(rounds: Rounds) -> float:
    return rounds.median("cpu_s")


def _multiples(
    columns: Mapping[str, Rounds], bases: list[str], value: Callable[[Rounds], float]
) -> list[list[str]]:
    return [
        [name, *(f"{value(rounds) / value(columns[base]):.3g}" for base in bases)]
        for name, rounds in columns.items()
    ]


def _piped(rows: list[list[str]]) -> str:
    first, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([first, "|" + " --- |" * len(rows[0]), *others])


def _draw(
    path: Path,
    title: str,
    columns: Mapping[str, Rounds],
    value: Callable[[Rounds], float],
    show: Callable[[float], str],
) -> None:
    drawn = [
        plots.Bar(name, value(rounds), PROMISES[name].brief(), ours=name in OURS)
        for name, rounds in columns.items()
    ]
    plots.bars(path, title, drawn, show)
