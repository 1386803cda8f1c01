"""Calls that cannot be cancelled, such as the system's look-up of a name, with a limit to waiting.

Each runs on a daemon thread of its own. After the limit its caller goes on, and the thread ends
whenever the system answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from time import monotonic
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Threads of one owner: a resolver that hangs may hold each of them for minutes.
MOST_AT_ONCE: Final = 64
# Half of it: one long list of hosts leaves threads for the other callers of a node.
MOST_OF_ONE: Final = 32


class Lookups:
    """The look-ups of one owner. `stop` ends every wait; a call that hangs outlives it.

    The same key is asked for once at a time, so that a dead resolver holds no more threads than
    there are names, and never more than `MOST_AT_ONCE`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._under_way: dict[str, Future[Any]] = {}
        # A future and no event, so that one `wait` hears of it and of the answers.
        self._stopped: Future[None] = Future()
        # Guards `_under_way` and the one change of `_stopped`. Never held during a call.
        self._lock = threading.Lock()

    def result(self, key: str, call: Callable[[], T], timeout_s: float) -> T:
        """Return what the call returns, or raise what it raises.

        Raises `TimeoutError` when it takes longer than `timeout_s`, after `stop`, or when no thread
        can be started for it.
        """
        (outcome,) = self.results({key: call}, timeout_s).values()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def results(
        self, calls: Mapping[str, Callable[[], T]], timeout_s: float
    ) -> dict[str, T | Exception]:
        """Run several calls side by side, all within `timeout_s`; return errors and raise none."""
        until = monotonic() + timeout_s
        waiting = dict(calls)
        begun: dict[str, Future[Any]] = {}
        pending: set[Future[Any]] = set()
        while waiting or pending:
            # Refilled as answers come, so that a long list is asked for in full within the time.
            while waiting and len(pending) < MOST_OF_ONE:
                key = next(iter(waiting))
                begun[key] = self._begin(key, waiting.pop(key))
                pending.add(begun[key])
            left = until - monotonic()
            # What is under way goes on: the next call for the same key takes its answer.
            if self._stopped.done() or left <= 0:
                break
            done, _ = wait({*pending, self._stopped}, left, FIRST_COMPLETED)
            pending -= done
        return {key: _outcome(begun.get(key), key, timeout_s) for key in calls}

    def stop(self) -> None:
        """End every wait with a `TimeoutError`, and refuse new ones; repeatable."""
        with self._lock:
            if not self._stopped.done():
                self._stopped.set_result(None)

    def _begin(self, key: str, call: Callable[[], Any]) -> Future[Any]:
        with self._lock:
            future = self._under_way.get(key)
            if future is None:
                future = Future()
                if self._stopped.done():
                    future.set_exception(TimeoutError(f"{key} is not looked up any more"))
                elif len(self._under_way) >= MOST_AT_ONCE:
                    future.set_exception(
                        TimeoutError(f"{key} is not looked up: {MOST_AT_ONCE} others wait")
                    )
                else:
                    self._start(key, call, future)
            return future

    def _start(self, key: str, call: Callable[[], Any], future: Future[Any]) -> None:
        run = threading.Thread(
            target=self._run, args=(key, call, future), name=self._name, daemon=True
        )
        try:
            run.start()
        except RuntimeError as error:
            # The process may have no thread more: later calls for the key must try again.
            future.set_exception(TimeoutError(f"{key} is not looked up: {error}"))
        else:
            # In time, since the thread needs the lock to take it out again.
            self._under_way[key] = future

    def _run(self, key: str, call: Callable[[], Any], future: Future[Any]) -> None:
        try:
            outcome = call()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            # Out of the table first: a call from now on asks anew and gets no answer of before.
            self._end(key)
            future.set_exception(error)
        else:
            self._end(key)
            future.set_result(outcome)

    def _end(self, key: str) -> None:
        with self._lock:
            self._under_way.pop(key, None)


def _outcome(future: Future[T] | None, key: str, timeout_s: float) -> T | Exception:
    if future is None or not future.done():
        return TimeoutError(f"{key} could not be looked up within {timeout_s:g} s")
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - one answer of several
        return error
