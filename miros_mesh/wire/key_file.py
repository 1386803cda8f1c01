"""The keys that the processes of one user share when no setting names one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import explained, make_once, require_private
from miros_mesh.wire.keyring import KEY_BYTES, generate_key, is_key

KEY_FILE: Final = "mesh.key"


def load_or_create_keys(folder: Path) -> tuple[bytes, ...]:
    """Return the Fernet keys in `folder`; the first process to ask makes one, all get the same.

    Of several, a line each, the first seals. Raises `EmbeddedStoreError` for a file that other
    users could read or that holds no key.
    """
    file = folder / KEY_FILE
    # lexists: a link to nowhere counts as a file, and is refused below.
    if not os.path.lexists(file):
        fresh = generate_key()
        # Another process may be faster: then its key stays, and is the one that is read below.
        make_once(file, fresh + b"\n")
    return load_keys(folder)


def load_keys(folder: Path) -> tuple[bytes, ...]:
    """Return the Fernet keys in `folder`, and make none. Raises `EmbeddedStoreError`."""
    file = folder / KEY_FILE
    require_private(file)
    # Only its user can have changed the file since the check: the folder is closed to others.
    with explained(file, "be read"):
        keys = tuple(file.read_bytes().split())
    if not keys or not all(map(is_key, keys)):
        raise EmbeddedStoreError(
            f"the file {file} holds no Fernet key ({KEY_BYTES} bytes as url-safe base64); put back "
            "the right key, or, when no process of this folder runs, remove the file to have a new "
            "one made"
        )
    return keys
