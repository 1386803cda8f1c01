"""What a process of its own adds to the dead letters of a folder."""

from __future__ import annotations

from pathlib import Path

from miros_mesh.networks.letters.local import LocalLetters

SOME = 10


def add_some(home: Path, name: str) -> None:
    """Add some letters, one at a time; each says who has added it."""
    letters = LocalLetters(home)
    for number in range(SOME):
        letters.add(f"{name} {number}".encode(), node=name)
