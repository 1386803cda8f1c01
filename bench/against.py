"""`make bench ARGS="against COMMIT"`: this folder beside a commit, else beside the last tag."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import builds
import environment
import report
import talks
from brokers import Measured, embedded, plain_url, rabbitmq
from builds import Build
from measure import MeasureError
from options import file_to_write, from_to
from peer_report import rate
from talks import Talk

COMMAND = "against"
BARE = "Kombu, unconfirmed"
SMALL, KIBIBYTE, LARGE = 100, 1024, 64 * 1024
CHARTS = 10
WARM_UP_EVENTS = 500
# No round begins that would end after this.
LIMIT_S = 450.0
QUICK = 20
IMPORTS = 3
_IMPORT_LIMIT_S = 60.0
# Isolated: the folder that this is run in has a library as well.
_TIMED = ("-I", "-c", "import time; b = time.process_time(); {}; print(time.process_time() - b)")
_IMPORTED = ("import miros_mesh", "from miros_mesh import NetworkedActiveObject")
_MIB = 1024 * 1024

Values = Mapping[str, float]


@dataclass(frozen=True)
class Sizes:
    """How many events each part of a round sends."""

    burst: int = 20_000
    idle: int = 100
    fan_out: int = 2_000
    large: int = 400
    memory: int = 20_000

    def quick(self) -> Sizes:
        """A few of each."""
        return Sizes(self.burst // QUICK, 20, self.fan_out // QUICK, self.large // QUICK, 1_000)


@dataclass
class Rows:
    """What was measured: for each row and each build a value of every round."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, build: str, values: Values) -> None:
        """Note what a build came to in a round."""
        for row, value in values.items():
            self.values.setdefault(row, {}).setdefault(build, []).append(value)

    def median(self, row: str, build: str) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.values[row][build])


class Side:
    """A build, and its programs at one broker, which live through all rounds."""

    def __init__(self, stack: ExitStack, build: Build, broker: Measured) -> None:
        self._build = build
        self._broker = broker
        self._one = self._talk(stack)
        self._ten = self._talk(stack, charts=CHARTS)
        for each in (self._one, self._ten):
            each.burst(WARM_UP_EVENTS, SMALL)

    def measure(self, sizes: Sizes) -> Iterator[Values]:
        """Measure everything once, a part at a time."""
        title = self._broker.title
        yield self._burst(title, sizes.burst)
        yield idle_values(title, self._one.idle(sizes.idle, SMALL))
        fan_out = self._ten.burst(sizes.fan_out, SMALL)
        yield {
            f"{title}: deliveries/s to {CHARTS} charts": fan_out.events_per_s * CHARTS,
            f"{title}: CPU of 10,000 to {CHARTS} charts": fan_out.cpu_s,
        }
        large = self._one.burst(sizes.large, LARGE)
        yield {
            f"{title}: events/s of 64 KiB": large.events_per_s,
            f"{title}: CPU of 10,000 of 64 KiB": large.cpu_s,
        }
        yield self._memory(title, sizes.memory)

    def _burst(self, title: str, events: int) -> Values:
        burst = self._one.burst(events, SMALL)
        rows = {
            f"{title}: events/s": burst.events_per_s,
            f"{title}: CPU of 10,000 events": burst.cpu_s,
            f"{title}: CPU of the sender": burst.sender_cpu_s,
            f"{title}: CPU of the receiver": burst.receiver_cpu_s,
        }
        broker = {f"{title}: CPU of the broker": burst.broker_cpu_s}
        # The embedded one is a part of both programs.
        return rows | (broker if self._broker.pid else {})

    def _memory(self, title: str, events: int) -> Values:
        # What a process has once had shows in its peak, so this has new ones each time.
        with ExitStack() as stack:
            peak = self._talk(stack).burst(events, KIBIBYTE).sender_peak_bytes
        return {f"{title}: sender's peak, 1 KiB": float(peak)}

    def _talk(self, stack: ExitStack, **settings: Any) -> Talk:
        return Talk(
            stack,
            self._build.python,
            "charts",
            broker=self._broker.pid,
            **talks.mesh(self._broker),
            **settings,
        )


def idle_values(title: str, latencies_s: Sequence[float]) -> Values:
    """Return the rows of a column that was sent idle."""
    return {
        f"{title}: idle latency, median": statistics.median(latencies_s),
        f"{title}: idle latency, p99": statistics.quantiles(latencies_s, n=100)[98],
    }


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured."""
    options = _parser().parse_args(arguments)
    sizes = Sizes().quick() if options.quick else Sizes()
    commit = options.commit or builds.last_tag()
    _say(f"building {commit} ...")
    old = builds.of_commit(commit)
    _say("building this folder ...")
    new = builds.of_this_folder()
    with ExitStack() as stack:
        rows, rounds, versions = _measure(stack, (old, new), sizes, options.runs)
    where = report.machine(versions)
    title = f"{new.name} against {old.name}: medians of {rounds} rounds"
    print(f"{where}\n{title}.\n\n{table(rows, old.name, new.name)}\n\n{beside_kombu(rows)}")
    if options.json:
        figures = as_json(rows, old.name, new.name) | {"machine": where}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def table(rows: Rows, old: str, new: str) -> str:
    """A line for each row: both medians, and the ratio with its lowest and highest round."""
    lines = [["", old, new, "ratio", "lowest to highest round"]]
    for row, values in rows.values.items():
        if old in values and new in values:
            before, after = rows.median(row, old), rows.median(row, new)
            pairs = zip(values[old], values[new], strict=True)
            ratios = [_ratio(after, before) for before, after in pairs]
            shown = [_shown(row, before), _shown(row, after), f"{_ratio(after, before):.2f}"]
            lines.append([row, *shown, f"{min(ratios):.2f} to {max(ratios):.2f}"])
    return report.laid_out(lines)


def beside_kombu(rows: Rows) -> str:
    """The idle latencies as multiples of what plain Kombu takes, which promises nothing."""
    row = f"{BARE}: idle latency, median"
    if row not in rows.values:
        return "Without RabbitMQ there is no plain Kombu to compare with."
    bare_s = rows.median(row, BARE)
    lines = [f"{row}: {_shown(row, bare_s)}"]
    for other, values in rows.values.items():
        if other.endswith("idle latency, median") and other != row:
            lines += [
                f"  {other}, {build}: {rows.median(other, build) / bare_s:.2f} x"
                for build in values
            ]
    return "\n".join(lines)


def as_json(rows: Rows, old: str, new: str) -> dict[str, Any]:
    """Everything that was measured, the medians, and the ratios of the second to the first."""
    return {
        "old": old,
        "new": new,
        "rows": {
            row: {
                "rounds": values,
                "median": {build: rows.median(row, build) for build in values},
            }
            | (
                {"ratio": _ratio(rows.median(row, new), rows.median(row, old))}
                if {old, new} <= set(values)
                else {}
            )
            for row, values in rows.values.items()
        },
    }


def _measure(
    stack: ExitStack, both: Sequence[Build], sizes: Sizes, wanted: int
) -> tuple[Rows, int, list[str]]:
    _say("looking for RabbitMQ ...")
    server = stack.enter_context(rabbitmq(None))
    versions = [server.version] if server else []
    # The embedded broker of each build has a folder of its own.
    parts: list[tuple[str, Callable[[Sizes], Iterator[Values]]]] = []
    for build in both:
        own = stack.enter_context(embedded())
        versions += [own.version] if own.version not in versions else []
        for broker in (own, *([server] if server else [])):
            _say(f"starting {build.name}, {broker.title} ...")
            parts.append((build.name, Side(stack, build, broker).measure))
        parts.append((build.name, _Alone(stack, build, own).measure))
    if server:
        parts.append((BARE, _Bare(stack, both[-1], server).measure))
    return (*_rounds(parts, sizes, wanted), versions)


def _rounds(
    parts: Sequence[tuple[str, Callable[[Sizes], Iterator[Values]]]], sizes: Sizes, wanted: int
) -> tuple[Rows, int]:
    """All take turns, a small part at a time, so that a slow moment is everyone's."""
    rows, began, done = Rows(), time.monotonic(), 0
    while done < wanted and (time.monotonic() - began) * (done + 1) <= LIMIT_S * max(done, 1):
        # Who is first in one round is last in the next.
        turn = [(name, measure(sizes)) for name, measure in parts][:: 1 if done % 2 else -1]
        while turn:
            turn = [each for each in turn if _step(rows, *each)]
        done += 1
        _say(f"round {done} of {wanted}")
    if done < wanted:
        _say(f"stopping after {done} of {wanted} rounds: more would take over {LIMIT_S:g} s")
    return rows, done


def _step(rows: Rows, build: str, measuring: Iterator[Values]) -> bool:
    try:
        values = next(measuring, None)
    except MeasureError as error:
        raise MeasureError(f"{build}: {error}") from error
    if values is None:
        return False
    rows.add(build, values)
    _say(f"{build}: " + "; ".join(f"{row} {_shown(row, value)}" for row, value in values.items()))
    return True


class _Alone:
    """What a build does without another process: a chart that posts to itself, and its import."""

    def __init__(self, stack: ExitStack, build: Build, broker: Measured) -> None:
        self._build = build
        self._own = Talk(stack, build.python, "charts", ["own"], **talks.mesh(broker))
        self._own.burst(WARM_UP_EVENTS, SMALL)

    def measure(self, sizes: Sizes) -> Iterator[Values]:
        burst = self._own.burst(sizes.burst, SMALL)
        yield {
            "own post_fifo: events/s": burst.events_per_s,
            "own post_fifo: CPU of 10,000 events": burst.cpu_s,
        }
        # What an import leaves for later is paid when a chart is made.
        yield {f"{statement}: CPU": self._import_s(statement) for statement in _IMPORTED}

    def _import_s(self, statement: str) -> float:
        command = [str(self._build.python), *(each.format(statement) for each in _TIMED)]
        return statistics.median(
            float(environment.run(command, _IMPORT_LIMIT_S)) for _ in range(IMPORTS)
        )


class _Bare:
    """Plain Kombu, which neither confirms nor stores nor encrypts."""

    def __init__(self, stack: ExitStack, build: Build, broker: Measured) -> None:
        self._talk = Talk(stack, build.python, "kombu_peer", url=plain_url(broker), confirmed=False)
        self._talk.burst(WARM_UP_EVENTS, SMALL)

    def measure(self, sizes: Sizes) -> Iterator[Values]:
        yield idle_values(BARE, self._talk.idle(sizes.idle, SMALL))


def _ratio(after: float, before: float) -> float:
    # The processor's time is counted in ticks of 10 ms: a few events may take none.
    return after / (before or after or 1.0)


def _shown(row: str, value: float) -> str:
    if "/s" in row:
        return f"{rate(value)} /s"
    if "peak" in row:
        return f"{value / _MIB:,.1f} MiB"
    if "CPU of" in row:
        return f"{value:.2f} s"
    return f"{value * 1000:.2f} ms"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=against", description=__doc__)
    add = parser.add_argument
    add("commit", nargs="?", help="a commit or a tag; default: the last tag before this commit")
    add("--runs", type=from_to(1, 100), default=5, help="how many rounds (default %(default)d)")
    add("--quick", action="store_true", help="a twentieth of the events: does it work")
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
