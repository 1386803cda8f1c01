"""The keys of one network: the first one seals, every one opens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Iterable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from miros_mesh.errors import EncryptionKeyError, UndecryptableFrameError

KEY_BYTES = 32
# 32 bytes in base64: 43 characters and one of padding.
_FORM = re.compile(rb"[A-Za-z0-9_-]{43}=")
# Beyond the plain text: version, time, initialisation vector, padding (1 to 16) and HMAC.
SEAL_OVERHEAD_BYTES = 1 + 8 + 16 + 16 + 32


def generate_key() -> bytes:
    """Make a new random Fernet key, as url-safe base64."""
    return Fernet.generate_key()


def is_key(key: object) -> bool:
    """Whether `key` has the form of a Fernet key: 44 url-safe base64 characters as bytes."""
    return isinstance(key, bytes) and _FORM.fullmatch(key) is not None


def fingerprint(key: bytes | str) -> str:
    """Return eight characters that tell keys apart and do not help to guess them."""
    return hashlib.sha256(_canonical(key)).hexdigest()[:8]


class KeyRing:
    """Keys that can be rotated while frames are sealed and opened in other threads.

    To rotate: `add` the new key on every node, then `use` it on every node, then `remove` the old.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        # Held while `_ring` is replaced. Readers need no lock: they take the ring as a whole.
        self._changing = threading.Lock()
        self._ring = _Ring(_canonical(key) for key in keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.fingerprints)})"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The fingerprint of each key, the primary first."""
        return tuple(fingerprint(key) for key in self._ring.keys)

    def add(self, key: bytes) -> None:
        """Open frames of this key too; repeatable. Raises `EncryptionKeyError` if it is no key."""
        new = _canonical(key)
        with self._changing:
            # Last: frames are sealed as before, and opening tries the primary first.
            self._ring = _Ring((*self._ring.keys, new))

    def use(self, key: bytes) -> None:
        """Seal with this key from now on. Raises `EncryptionKeyError` if it was not added."""
        chosen = _canonical(key)
        with self._changing:
            self._expect(chosen)
            # A key that is named twice counts once, at its first place.
            self._ring = _Ring((chosen, *self._ring.keys))

    def remove(self, key: bytes) -> None:
        """Open frames of this key no longer.

        Raises `EncryptionKeyError` for the primary key and for one that was not added.
        """
        old = _canonical(key)
        with self._changing:
            self._expect(old)
            if old == self._ring.keys[0]:
                raise EncryptionKeyError(
                    f"key {fingerprint(old)} is the primary key: use another one before removing it"
                )
            self._ring = _Ring(kept for kept in self._ring.keys if kept != old)

    def seal(self, plain: bytes) -> bytes:
        """Encrypt and sign with the primary key; return a Fernet token without its base64."""
        # One read of `_ring`: a change in another thread counts for all of this call, or for none.
        return base64.urlsafe_b64decode(self._ring.fernet.encrypt(plain))

    def open(self, sealed: bytes) -> bytes:
        """Return the plain bytes if a key of the ring sealed exactly these.

        Raises `UndecryptableFrameError` for any other bytes.
        """
        # Sealed bytes travel raw and not as a Fernet token, because base64 can be changed in
        # places without changing what it decodes to. It saves a quarter of the size, too.
        try:
            return self._ring.fernet.decrypt(base64.urlsafe_b64encode(sealed))
        except InvalidToken:
            raise UndecryptableFrameError(
                "no key of the ring opens this frame; does every node have the same key?"
            ) from None

    def _expect(self, key: bytes) -> None:
        if key not in self._ring.keys:
            raise EncryptionKeyError(f"key {fingerprint(key)} is not in the ring: add it first")


class _Ring:
    """The keys and their Fernet, never changed: a KeyRing replaces it as a whole."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = tuple(dict.fromkeys(keys))
        if not self.keys:
            raise EncryptionKeyError("a key ring needs at least one key")
        self.fernet = MultiFernet(Fernet(key) for key in self.keys)


def _canonical(key: bytes | str) -> bytes:
    """The one spelling of a key, since base64 can spell the same 32 bytes in several ways."""
    raw = _decoded(key)
    if len(raw) != KEY_BYTES:
        raise EncryptionKeyError(
            "not a Fernet key (44 url-safe base64 characters); make one with: miros-mesh keygen"
        )
    return base64.urlsafe_b64encode(raw)


def _decoded(key: bytes | str) -> bytes:
    try:
        # `validate`, or characters that are not of the alphabet would be skipped.
        return base64.b64decode(key, altchars=b"-_", validate=True)
    except (TypeError, ValueError, binascii.Error):
        return b""
