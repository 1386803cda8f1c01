"""What charts and clients may be called."""

from __future__ import annotations

from typing import Final

from miros_mesh.errors import ConfigError

# Its queue's name, which AMQP limits to 255 bytes, also holds the node's name and a digest:
# `miros_mesh.v1.mesh` (18), at most 77 for a node (a host's name, a process's number, four digits),
# these 140, a digest of 8, and three dots between them are 246.
LONGEST_NAME_BYTES: Final = 140


def checked_name(name: str, owner: str = "chart", most_bytes: int = LONGEST_NAME_BYTES) -> str:
    """Return a name that queues, traces and logs can have, or raise `ConfigError`."""
    problem, size = "", len(name.encode(errors="replace"))
    if not name.isprintable():
        problem = f"the {owner}'s name {name[:40]!r} holds what cannot be printed; use plain text"
    elif size > most_bytes:
        problem = f"the {owner}'s name has {size} bytes; {most_bytes} are the most"
    if problem:
        raise ConfigError((problem,))
    return name
