"""A call in a forked child."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

LIMIT_S = 10.0


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
