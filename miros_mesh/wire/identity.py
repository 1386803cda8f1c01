"""The name and the incarnation by which others know a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """A node's name, and its incarnation: a random mark that is new at each start."""

    node: str
    incarnation: str
