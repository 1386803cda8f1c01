"""The command `miros-mesh`."""

from miros_mesh.cli.command import main

__all__ = ["main"]
