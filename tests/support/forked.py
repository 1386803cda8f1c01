"""A call in a forked child."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

LIMIT_S = 10.0

T = TypeVar("T")


def succeeds_in_a_child(call: Callable[[], object]) -> bool:
    """Whether the call returns in a child that is forked here; a child that hangs is killed."""
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join(LIMIT_S)
    # Has no effect on one that has ended.
    child.kill()
    child.join()
    succeeded = child.exitcode == 0
    child.close()
    return succeeded


def returned_by_a_child(call: Callable[[], T]) -> T:
    """Return what the call returns in a child that is forked here; of one that hangs, raise."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(call()))
    child.start()
    try:
        assert here.poll(LIMIT_S), "the child hangs"
        returned: T = here.recv()
        return returned
    finally:
        child.kill()
        child.join()
        child.close()
