"""How dead letters are sealed: with the keys of the mesh, under a network's name of their own."""

from __future__ import annotations

from typing import Final

from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import DeadLetter
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.members import Members
from miros_mesh.wire.signing import Signer

LETTERS: Final = "letters"
# What a letter adds to its event or frame at most: names, topics, detail and address of four bytes
# a character, numbers.
LETTER_BYTES: Final = 20 * 1024


def letter_codec(
    keyring: KeyRing,
    largest_bytes: int,
    *,
    signer: Signer | None = None,
    members: Members | None = None,
) -> Codec[DeadLetter]:
    """Return what seals and opens letters about events and frames of up to `largest_bytes`.

    Signed by the signer; with members it opens only what those have signed.
    """
    return Codec(
        LETTERS,
        keyring,
        DeadLetter,
        max_frame_bytes=largest_bytes + LETTER_BYTES + FRAME_OVERHEAD_BYTES,
        signer=signer,
        members=members,
    )
