"""One measurement of one column: fresh processes, a warm-up, a burst, then events one by one."""

from __future__ import annotations

import multiprocessing
import secrets
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import roles
from chart import Result, Task
from miros_mesh import MeshConfig

WARM_UP_EVENTS = 1_000
# Longer than any limit inside a child, so that the child says what went wrong.
ANSWER_LIMIT_S = 2 * roles.HANDLING_LIMIT_S
END_LIMIT_S = 10.0

Ask = Callable[[Task], tuple[int, Result]]


class MeasureError(Exception):
    """A measurement that did not come to a figure."""


@dataclass(frozen=True)
class Sizes:
    """How many events each part of a measurement sends."""

    burst: int
    paced: int


@dataclass(frozen=True)
class Sample:
    """The figures of one measurement."""

    events_per_s: float
    latency_median_s: float
    latency_p99_s: float


class Child:
    """A process that plays a role, seen from the parent."""

    def __init__(self, role: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._name = role.__name__
        self._process = context.Process(
            target=_play, args=(role, theirs, *arguments), daemon=True, name=self._name
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self._connection.send(None)
            self._process.join(END_LIMIT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()

    def tell(self, task: object) -> None:
        """Give it something to do."""
        self._connection.send(task)

    def answer(self, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """What it says next."""
        try:
            if not self._connection.poll(limit_s):
                raise MeasureError(f"{self._name} did not answer within {limit_s:g} s")
            answer = self._connection.recv()
        except EOFError:
            raise MeasureError(f"the process of {self._name} died") from None
        if isinstance(answer, Exception):
            raise MeasureError(f"{self._name}: {answer}")
        return answer


def measure_local(sizes: Sizes) -> Sample:
    """`post_fifo` of a miros chart, within one process."""
    with Child(roles.post_locally) as child:
        child.answer()

        def ask(task: Task) -> tuple[int, Result]:
            child.tell(task)
            first_ns, result = child.answer()
            return first_ns, _checked(result)

        return _sample(ask, sizes)


def measure_mesh(config: MeshConfig, sizes: Sizes, heard_by: MeshConfig | None = None) -> Sample:
    """`transmit` of a chart in one process to a chart in another one, which has other settings."""
    topic = f"bench.{secrets.token_hex(4)}"
    with ExitStack() as stack:
        receiver = stack.enter_context(Child(roles.receive, heard_by or config, topic))
        sender = stack.enter_context(Child(roles.transmit, config, topic))
        receiver.answer()
        sender.answer()

        def ask(task: Task) -> tuple[int, Result]:
            receiver.tell(task)
            receiver.answer()
            sender.tell(task)
            return sender.answer(), _checked(receiver.answer())

        return _sample(ask, sizes)


def _sample(ask: Ask, sizes: Sizes) -> Sample:
    ask(Task(WARM_UP_EVENTS, paced=False))
    first_ns, burst = ask(Task(sizes.burst, paced=False))
    _, paced = ask(Task(sizes.paced, paced=True))
    seconds = sorted(latency_ns / 1e9 for latency_ns in paced.latencies_ns)
    return Sample(
        events_per_s=sizes.burst / ((burst.last_ns - first_ns) / 1e9),
        latency_median_s=statistics.median(seconds),
        latency_p99_s=statistics.quantiles(seconds, n=100)[98],
    )


def _checked(result: Result | str) -> Result:
    if isinstance(result, str):
        raise MeasureError(result)
    return result


def _play(role: Callable[..., None], connection: Any, *arguments: Any) -> None:
    try:
        role(connection, *arguments)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        # The parent has gone or was interrupted: there is nobody left to report to.
        pass
    except Exception as error:  # noqa: BLE001 - the parent reports it
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))
