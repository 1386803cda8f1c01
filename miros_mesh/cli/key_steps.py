"""What nodes say of their keys, and which step of a rotation may follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from miros_mesh.wire.envelope import HeldKeys

QUIET_S: Final = 30.0
"""So long no frame of a key has come before it is removed."""


@dataclass(frozen=True)
class NodeKeys:
    """The keys of a node for one network."""

    node: str
    used: str
    """The one that seals, by its fingerprint."""
    used_since: float
    idle_s: Mapping[str, float | None]
    """Each key that it has, and how long ago it sealed or opened a frame; None if never."""

    @classmethod
    def of(cls, node: str, said: HeldKeys) -> NodeKeys:
        """Return what a node has said."""
        idle_s = {key.id: key.idle_s for key in said.keys}
        return cls(node, said.keys[0].id, said.used_since, idle_s)


@dataclass(frozen=True)
class Step:
    """What an operator may do, or has to wait for."""

    safe: bool
    """Whether it may be done now, or there is nothing to do."""
    text: str


def next_steps(nodes: Sequence[NodeKeys], unread: int = 0) -> Sequence[Step]:
    """Return what may follow for the keys of one network; there is a node at least.

    `unread` frames came under a key that is not known here, of nodes that are not among `nodes`.
    """
    missing = tuple(_missing(nodes))
    if unread:
        return _strangers(unread), *missing
    return missing or (_change(nodes),)


def _strangers(unread: int) -> Step:
    return Step(
        False,
        f"{unread} frame(s) of a key that these settings lack came: a node uses it that is not "
        "among these. With that key added to these settings it is named",
    )


def _missing(nodes: Sequence[NodeKeys]) -> Iterator[Step]:
    """Find the keys that some nodes have, and others not."""
    for key in _all_keys(nodes):
        without = [each.node for each in nodes if key not in each.idle_s]
        users = [each.node for each in nodes if each.used == key]
        if without and users:
            yield Step(
                False,
                f"not on {_names(without)}: {key}, which seals what comes from {_names(users)}: "
                "add it there now; what was missed is asked for and sent again, except from "
                "processes started meanwhile: miros-mesh dead-letters retry --all --reason "
                "undecryptable",
            )
        elif without and _was_used(nodes, key):
            owners = [each.node for each in nodes if key in each.idle_s]
            yield Step(
                True,
                f"no node uses {key}, and it is gone from {_names(without)}: remove it on "
                f"{_names(owners)}",
            )
        elif without:
            yield Step(
                False, f"not on {_names(without)}: {key}; add it there before a node uses it"
            )


def _change(nodes: Sequence[NodeKeys]) -> Step:
    """Say what may follow where all nodes have the same keys."""
    newest = max(nodes, key=lambda each: each.used_since).used
    late = [each.node for each in nodes if each.used != newest]
    if late:
        return Step(True, f"every node has {newest}: use it on {_names(late)} too")
    others = [key for key in _all_keys(nodes) if key != newest]
    new = [key for key in others if not _was_used(nodes, key)]
    if not others:
        return Step(True, f"every node has {newest} and no other key: nothing to do")
    if new:
        return Step(
            True,
            f"every node has {', '.join(new)}, and none has seen a frame of it. If it is the old "
            "key: remove it; if it is the new one: use it",
        )
    busy = [key for key in others if _idle_s(nodes, key) < QUIET_S]
    if busy:
        return Step(
            False,
            f"every node uses {newest}; wait: frames of {', '.join(busy)} have come in the last "
            f"{QUIET_S:g} s",
        )
    idle_s = min(_idle_s(nodes, key) for key in others)
    return Step(
        True,
        f"every node uses {newest}, and no frame of {', '.join(others)} has come for "
        f"{idle_s:.0f} s: remove it, once named nodes that are away were started",
    )


def _all_keys(nodes: Iterable[NodeKeys]) -> list[str]:
    return sorted({key for each in nodes for key in each.idle_s})


def _was_used(nodes: Iterable[NodeKeys], key: str) -> bool:
    return any(each.idle_s.get(key) is not None for each in nodes)


def _idle_s(nodes: Iterable[NodeKeys], key: str) -> float:
    known = (each.idle_s.get(key) for each in nodes)
    return min((idle_s for idle_s in known if idle_s is not None), default=float("inf"))


def _names(nodes: Iterable[str]) -> str:
    *others, last = sorted(nodes)
    return f"{', '.join(others)} and {last}" if others else last
