"""Pauses that are not the same in every process, so that they do not all act at one moment."""

from __future__ import annotations

import random


def between(shortest_s: float, longest_s: float) -> float:
    """A random pause; it guards nothing, so any generator will do."""
    return random.uniform(shortest_s, longest_s)  # noqa: S311


def about(seconds: float) -> float:
    """A pause of so many seconds, up to a tenth more or less."""
    return seconds * between(0.9, 1.1)
