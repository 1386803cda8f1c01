"""How dead letters are sealed: with the keys of the mesh, under a network's name of their own."""

from __future__ import annotations

from typing import Final

from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import DeadLetter
from miros_mesh.wire.keyring import KeyRing

LETTERS: Final = "letters"
# What a letter adds to its event or frame at most: names, topics, detail and address of four bytes
# a character, numbers.
LETTER_BYTES: Final = 20 * 1024


def letter_codec(keyring: KeyRing, largest_bytes: int) -> Codec[DeadLetter]:
    """Return what seals and opens letters about events and frames of up to `largest_bytes`."""
    return Codec(
        LETTERS,
        keyring,
        DeadLetter,
        max_frame_bytes=largest_bytes + LETTER_BYTES + FRAME_OVERHEAD_BYTES,
    )
