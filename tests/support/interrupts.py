"""What a handler of a signal does that raises: it breaks a function off, where Python runs it."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any


class Interrupted(BaseException):
    """Raised in place of a KeyboardInterrupt, or of the SystemExit of a SIGTERM."""


def broken_off(act: Callable[[], object], code: CodeType, number: int) -> bool:
    """Run `act`, and raise at the moment of that number in `code`, from 1 on.

    Such are its begin, and behind each of its calls: nowhere else does Python run the handlers of
    signals, but for the end of a loop's round. Returns whether it came so far.
    """
    moments = _moments(code)
    passed = 0

    def step(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed
        if event == "opcode" and frame.f_lasti in moments:
            passed += 1
            if passed == number:
                raise Interrupted
        return step

    def begin(frame: FrameType, _event: str, _: object) -> Any:
        if frame.f_code is not code:
            return None
        # First the function: from Python 3.13 on, a frame without one keeps no wish for steps.
        frame.f_trace = step
        frame.f_trace_opcodes = True
        return step

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        act()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def _moments(code: CodeType) -> frozenset[int]:
    """Where the steps begin that follow those by which Python looks for signals."""
    steps = list(dis.get_instructions(code))
    return frozenset(
        after.offset
        for step, after in pairwise(steps)
        if step.opname == "RESUME" or step.opname.startswith("CALL")
    )
