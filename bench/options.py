"""What the options of all benchmarks are read by."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def from_to(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number between two, both of them included."""

    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"from {low} to {high}")
        return value

    return number
