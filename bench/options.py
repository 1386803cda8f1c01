"""What the options of all benchmarks are read by."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path


def from_to(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number between two, both of them included."""

    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"from {low} to {high}")
        return value

    return number


def names_of(known: Iterable[str], by: str = ",") -> Callable[[str], tuple[str, ...]]:
    """Return what reads a list of some of the names that are known, and of no others."""
    all_names = tuple(known)

    def names(text: str) -> tuple[str, ...]:
        given = tuple(each.strip() for each in text.split(by) if each.strip())
        unknown = [each for each in given if each not in all_names]
        if unknown or not given:
            raise argparse.ArgumentTypeError(
                f"{unknown[0] if unknown else repr(text)} is none of " + f"{by} ".join(all_names)
            )
        return given

    return names


def file_to_write(text: str) -> Path:
    """Read the name of a file that a run writes at its end, while it costs nothing to be told."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}: make it first")
    return path
