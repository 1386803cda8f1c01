"""`miros-mesh keygen`: a new encryption key."""

from __future__ import annotations

import argparse
import sys

from miros_mesh.cli.options import Commands
from miros_mesh.wire.keyring import generate_key


def add(commands: Commands) -> None:
    """Add the command, which has no options."""
    parser = commands.add_parser(
        "keygen",
        help="print a new encryption key",
        description="Print a new Fernet key. Every node of a mesh needs the same one.",
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    sys.stdout.write(generate_key().decode() + "\n")
    return 0
