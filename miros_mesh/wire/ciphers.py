"""AES-256-GCM of frames: each process that seals derives a key of its own, and counts its nonces.

A sealed frame is its version byte, the salt of that derivation, the number of the frame under the
derived key, and the cipher text with its tag. Version and salt are authenticated with it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Final, Literal, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Cipher: TypeAlias = Literal["aes-gcm", "fernet"]
"""What frames are sealed with; both are opened."""

SALT_BYTES: Final = 16
NUMBER_BYTES: Final = 8
TAG_BYTES: Final = 16
GCM_OVERHEAD_BYTES: Final = SALT_BYTES + NUMBER_BYTES + TAG_BYTES
"""Beyond the version byte and the plain text."""

# So that no other use of a key of the mesh ever has the same derived key.
_INFO: Final = b"miros_mesh frame AES-256-GCM"
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + SALT_BYTES
_BODY_AT: Final = _HEAD_BYTES + NUMBER_BYTES
# Far from the 2^64 that there are numbers for: SECURITY.md has what that leaves to chance.
MOST_SEALED: Final = 2**32
# Of so many processes a frame opens without a derivation before it.
MOST_KNOWN: Final = 1_024


class _Forks:
    """How many forks lie between the first process and this one."""

    count = 0


def _forked() -> None:
    _Forks.count += 1


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forked)


class _Sealing(NamedTuple):
    """A salt, and what its key seals with; the frames under it have numbers from 0."""

    salt: bytes
    cipher: AESGCM


class GcmKey:
    """Seals and opens with keys that are derived of one key of the mesh; thread-safe.

    `most_sealed` is how many frames one derived key seals, and `most_known` of how many salts of
    others the derived keys are kept.
    """

    def __init__(
        self, raw: bytes, most_sealed: int = MOST_SEALED, most_known: int = MOST_KNOWN
    ) -> None:
        self._raw = raw
        self._most_sealed = most_sealed
        self._most_known = most_known
        self._own = _Own()

    def seal(self, plain: bytes, version: int) -> bytes:
        """Return a frame of that version."""
        (salt, cipher), number = self._numbered()
        nonce = number.to_bytes(_NONCE_BYTES, "big")
        head = version.to_bytes(1, "big") + salt
        sealed = cipher.encrypt(nonce, plain, head)
        return b"".join((head, nonce[-NUMBER_BYTES:], sealed))

    def knows(self, frame: bytes) -> bool:
        """Whether it has opened another frame of the same salt before."""
        return frame[1:_HEAD_BYTES] in self._here().known

    def open(self, frame: bytes) -> bytes | None:
        """Return the plain text, or None when this key has not sealed exactly these bytes."""
        if len(frame) < _BODY_AT + TAG_BYTES:
            return None
        own, salt = self._here(), frame[1:_HEAD_BYTES]
        cipher = own.known.get(salt) or self._derived(salt)
        nonce = frame[_HEAD_BYTES:_BODY_AT].rjust(_NONCE_BYTES, b"\0")
        try:
            # A view, or a large body would be copied once more.
            plain = cipher.decrypt(nonce, memoryview(frame)[_BODY_AT:], frame[:_HEAD_BYTES])
        except InvalidTag:
            return None
        # Only now: who has no key cannot push out what is needed.
        own.keep(salt, cipher, self._most_known)
        return plain

    def _numbered(self) -> tuple[_Sealing, int]:
        """Return what seals next, and a number that this was never returned with before.

        Two frames of one nonce under one derived key would lay open both, and let anybody forge
        more. So a number is taken under a lock, a child of a fork begins with a salt of its own,
        and so does who has used up its numbers.
        """
        own = self._here()
        with own.lock:
            if own.sealing is None or own.number >= self._most_sealed:
                salt = os.urandom(SALT_BYTES)
                own.sealing, own.number = _Sealing(salt, self._derived(salt)), 0
            number = own.number
            own.number += 1
            return own.sealing, number

    def _here(self) -> _Own:
        # Both: a number of a process can come again, and who forks in C may tell Python nothing.
        if self._own.process != (os.getpid(), _Forks.count):
            self._own = _Own()
        return self._own

    def _derived(self, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), 32, salt, _INFO).derive(self._raw))


class _Own:
    """What a key has in one process. After a fork the lock may stay held for ever, and is left."""

    def __init__(self) -> None:
        self.process = (os.getpid(), _Forks.count)
        self.lock = threading.Lock()
        self.sealing: _Sealing | None = None
        self.number = 0
        self.known: OrderedDict[bytes, AESGCM] = OrderedDict()

    def keep(self, salt: bytes, cipher: AESGCM, most: int) -> None:
        """Keep what has opened a frame, in place of what was needed least of late."""
        with self.lock:
            self.known[salt] = cipher
            self.known.move_to_end(salt)
            if len(self.known) > most:
                self.known.popitem(last=False)
