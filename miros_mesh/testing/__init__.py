"""For the tests of applications: a whole mesh in one process."""

from miros_mesh.testing.memory import MemoryMesh

__all__ = ["MemoryMesh"]
