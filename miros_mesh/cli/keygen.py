"""`miros-mesh keygen`: a new encryption key, or a node's own key."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from miros_mesh.cli.options import Commands
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import IdentityError, SecretFileError
from miros_mesh.private_files import make_once
from miros_mesh.wire.keyring import generate_key
from miros_mesh.wire.signing import Signer, generate_identity


def add(commands: Commands) -> None:
    """Add the command, with its one option."""
    parser = commands.add_parser(
        "keygen",
        help="print a new encryption key",
        description="Print a new Fernet key: 32 random bytes in base64, which either cipher uses. "
        "Every node of a mesh needs the same one.",
    )
    parser.add_argument(
        "--identity",
        metavar="FILE",
        help="instead make a node's own private key in FILE, unless it is there, and print the "
        "public key for the allowed_nodes of others",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    line = generate_key().decode() if options.identity is None else _public(Path(options.identity))
    sys.stdout.write(line + "\n")
    return 0


def _public(file: Path) -> str:
    """Return the public key of the identity in a file, which is made if it is missing."""
    if not os.path.lexists(file):
        make_once(file, generate_identity() + b"\n")
    try:
        return Signer("", SecretFile(file).read().encode()).public_key
    except (IdentityError, SecretFileError) as error:
        raise IdentityError(f"--identity {error}") from None
