"""The names and marks by which others know a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Identity:
    """A node's name, and its incarnation: a random mark that is new at each start."""

    node: str
    incarnation: str


class Author(NamedTuple):
    """Who has signed a frame: the node, and the mark of the key."""

    node: str
    mark: str
