"""Partitions: which one a key belongs to, and which member handles it.

All members come to the same answers by themselves: out of the key alone, and out of who is alive.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

from miros_mesh.errors import GroupError

PartitionKey: TypeAlias = str | bytes | int
PARTITIONS: Final = 16
"""So many members can have a share; of more, some wait. A change would be one of the wire."""


def partition_of(key: object) -> int:
    """Return the partition of a key, always the same; raises `GroupError` for what is none."""
    # With its kind in front: 1 and "1" may fall apart, and each stays where it is.
    if isinstance(key, str):
        data = b"s" + key.encode("utf-8", "surrogatepass")
    elif isinstance(key, bytes):
        data = b"b" + key
    elif isinstance(key, int):
        data = b"i%d" % int(key)
    else:
        raise GroupError(f"a key is a str, bytes or an int, and not of type {type(key).__name__}")
    return _hash(data) % PARTITIONS


def owners(members: Iterable[str]) -> tuple[str, ...]:
    """Return the member that handles each partition; none where there is no member.

    Each partition goes to the member that its hash prefers, of those that have less than their
    share: so most stay where they are when one comes or goes.
    """
    names = sorted(set(members))
    most = -(-PARTITIONS // len(names)) if names else 0
    shares: Counter[str] = Counter()
    chosen = []
    for number in range(PARTITIONS if names else 0):
        free = [name for name in names if shares[name] < most]
        best = max(free, key=lambda name: _hash(b"%d " % number + name.encode()))
        shares[best] += 1
        chosen.append(best)
    return tuple(chosen)


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2s(data, digest_size=8).digest(), "big")
