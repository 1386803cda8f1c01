"""For the tests of applications: a whole mesh in one process, and a clock that a test turns."""

from miros_mesh.testing.faults import Fault, Faults, SentEvent
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.memory import MemoryMesh

__all__ = ["Fault", "Faults", "HandClock", "MemoryMesh", "SentEvent"]
