"""For the tests of applications: a whole mesh in one process, a clock that a test turns, faults.

`docs/testing.md` shows how they are used.
"""

from miros_mesh.testing.assertions import assert_spy, assert_trace, state_is
from miros_mesh.testing.faults import Fault, Faults, SentEvent
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.memory import MemoryMesh

__all__ = [
    "Fault",
    "Faults",
    "HandClock",
    "MemoryMesh",
    "SentEvent",
    "assert_spy",
    "assert_trace",
    "state_is",
]
