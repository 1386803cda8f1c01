"""The key that the processes of one user share when no setting names one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import explained, make_once, require_private
from miros_mesh.wire.keyring import KEY_BYTES, generate_key, is_key

KEY_FILE: Final = "mesh.key"


def load_or_create_key(folder: Path) -> bytes:
    """Return the Fernet key in `folder`; the first process to ask makes it, all get the same.

    Raises `EmbeddedStoreError` for a file that other users could read or that holds no key.
    """
    file = folder / KEY_FILE
    # lexists: a link to nowhere counts as a file, and is refused below.
    if not os.path.lexists(file):
        fresh = generate_key()
        # Another process may be faster: then its key stays, and is the one that is read below.
        make_once(file, fresh + b"\n")
    require_private(file)
    # Only its user can have changed the file since the check: the folder is closed to others.
    with explained(file, "be read"):
        key = file.read_bytes().strip()
    if not is_key(key):
        raise EmbeddedStoreError(
            f"the file {file} holds no Fernet key ({KEY_BYTES} bytes as url-safe base64); put back "
            "the right key, or remove the file to have a new one made"
        )
    return key
