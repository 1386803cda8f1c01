"""A process that plays a part of a measurement, and what goes wrong with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

# Longer than any limit inside a child, so that the child says what went wrong.
ANSWER_LIMIT_S = 100.0
END_LIMIT_S = 10.0


class MeasureError(Exception):
    """A measurement that did not come to a figure."""


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


def _play(role: Callable[..., None], connection: Any, *arguments: Any) -> None:
    try:
        role(connection, *arguments)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        # The parent has gone or was interrupted: there is nobody left to report to.
        pass
    except Exception as error:  # noqa: BLE001 - the parent reports it
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))
