"""Who a node is to the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """Who a node is: its name, and a mark that is new at each start."""

    node: str
    incarnation: str
