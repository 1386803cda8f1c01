"""What the settings say of a node's own key, and of the nodes that it allows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import IdentityError, SecretFileError
from miros_mesh.wire.members import Members
from miros_mesh.wire.signing import Signer


def as_identity(value: Any) -> Any:
    """Return a text as bytes; any other value as it is."""
    return value.encode(errors="replace") if isinstance(value, str) else value


def as_allowed(value: Any) -> Any:
    """Return a mapping as JSON, which can be hashed; any other value as it is."""
    if not isinstance(value, Mapping):
        return value
    try:
        return json.dumps(_plain(value), sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        # Never raises: what is no JSON is refused later.
        return value


def read_identity(node: str | None, value: Any) -> tuple[bytes | None, list[str]]:
    """Return the private key of a node, and what is wrong with it."""
    if value is None:
        return None, []
    try:
        text = value.read().encode() if isinstance(value, SecretFile) else value
        if not isinstance(text, bytes):
            return None, ["node_identity must be a private key, or a SecretFile that names one"]
        Signer(node or "", text)
    except (SecretFileError, IdentityError) as error:
        return None, [f"node_identity {error}"]
    return text, []


def read_allowed(value: Any) -> tuple[str | None, list[str]]:
    """Return the nodes that are allowed, as JSON, and what is wrong with them."""
    if value is None:
        return None, []
    try:
        text = value.expanduser().read_text("utf-8") if isinstance(value, Path) else value
        if not isinstance(text, str):
            return None, ["allowed_nodes must be a mapping of nodes, its JSON, or a Path to that"]
        Members.parse(text)
    except IdentityError as error:
        # A path, say. Of a mapping and of a file none is missing.
        no_json = isinstance(value, str) and not value.lstrip().startswith("{")
        hint = "; a file is named by MIROS_MESH_ALLOWED_NODES_FILE, or a Path" if no_json else ""
        return None, [f"allowed_nodes: {error}{hint}"]
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        return None, [f"allowed_nodes names a file that cannot be read: {reason}"]
    return text, []


def problems(
    signer: Signer | None, members: Members | None, keys: Sequence[Any], *, unsigned: bool
) -> Iterator[str]:
    """Check what is right alone and wrong together; `keys` are those of the networks."""
    if signer is None:
        return
    if not signer.node:
        yield "node_identity is given without node_name, by which others know the node"
    elif members is not None and not members.has_key(signer.node, signer.mark):
        yield (
            f"allowed_nodes does not list {signer.node} with the public key of its node_identity, "
            f"{signer.public_key}: its charts would not hear each other"
        )
    # Of a wrong type they are reported elsewhere.
    rings = [ring for ring in keys if isinstance(ring, tuple)]
    if any(signer.is_made_of(key) for ring in rings for key in ring):
        yield "node_identity is a key of the mesh, which all have; make one of its own"
    if unsigned:
        yield "node_identity signs no frame with old_frames=write: leave one of them out"


def _plain(value: Any) -> Any:
    """Return collections as those that JSON knows."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return [_plain(each) for each in value] if isinstance(value, (tuple, list)) else value
