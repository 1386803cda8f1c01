"""The keys of one network: the first one seals, every one opens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, cast

from cryptography.fernet import Fernet, InvalidToken

from miros_mesh.errors import EncryptionKeyError, UndecryptableFrameError
from miros_mesh.wire.ciphers import GCM_OVERHEAD_BYTES, Cipher, GcmKey

KEY_BYTES = 32
# 32 bytes in base64: 43 characters and one of padding.
_FORM = re.compile(rb"[A-Za-z0-9_-]{43}=")
# Of Fernet: version, time, initialisation vector, padding (1 to 16) and HMAC.
SEAL_OVERHEAD_BYTES: Final = max(GCM_OVERHEAD_BYTES, 1 + 8 + 16 + 16 + 32)
"""Beyond the version byte and the plain text, at most."""
LAST_OF_FERNET: Final = 4
"""Frames of this version and of those before it are sealed with Fernet, later ones with GCM."""
# What the ring sealed itself is opened with keys that were removed since, so many of them.
_MOST_REMOVED: Final = 16
_NUMBERS: Final = 2**63 - 1


def generate_key() -> bytes:
    """Make a new random Fernet key, as url-safe base64."""
    return Fernet.generate_key()


def is_key(key: object) -> bool:
    """Whether `key` has the form of a Fernet key: 44 url-safe base64 characters as bytes."""
    return isinstance(key, bytes) and _FORM.fullmatch(key) is not None


def fingerprint(key: bytes | str) -> str:
    """Return eight characters that tell keys apart and do not help to guess them."""
    return hashlib.sha256(_canonical(key)).hexdigest()[:8]


class KeyState(NamedTuple):
    """A key of a ring at one moment, named by its fingerprint."""

    id: str
    idle_s: float | None
    """How long ago it sealed or opened a frame last; None if it never did."""


class OpenedToken(NamedTuple):
    """What a token of Fernet holds."""

    plain: bytes
    sealed_at: int
    """When it was sealed by the clock of who did it, in whole seconds since 1970."""
    number: int
    """One that no two tokens share, from 1 to 2**63 - 1."""


class KeyRing:
    """Keys that can be rotated while frames are sealed and opened in other threads.

    To rotate: `add` the new key on every node, then `use` it on every node, then `remove` the old.

    Without keys of its own it has those of `default`, whatever they become, until it is changed
    itself. `cipher` is what those who seal with it write, where they have the choice.
    """

    def __init__(
        self,
        keys: Sequence[bytes] = (),
        *,
        default: KeyRing | None = None,
        cipher: Cipher = "aes-gcm",
    ) -> None:
        self.cipher: Final = cipher
        # Held while `_own` is replaced. Readers need no lock: they take the ring as a whole.
        self._changing = threading.Lock()
        self._default = default
        given = tuple(_canonical(key) for key in keys)
        self._own = _Ring(given) if given or default is None else None
        self._removed: tuple[_Key, ...] = ()
        self.changed: Callable[[], object] = lambda: None
        """Called after each change, on the thread that made it."""

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.fingerprints)})"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The fingerprint of each key, the primary first."""
        return self._ring.ids

    @property
    def primary(self) -> str:
        """The fingerprint of the key that seals."""
        return self._ring.keys[0].id

    @property
    def used_since(self) -> float:
        """Since when that one does: Unix time."""
        return self._ring.used_since

    @property
    def states(self) -> tuple[KeyState, ...]:
        """Each key, the primary first, with when it was needed last."""
        now = time.monotonic()
        return tuple(
            KeyState(key.id, None if key.needed is None else max(now - key.needed, 0.0))
            for key in self._ring.keys
        )

    def add(self, key: bytes | str) -> None:
        """Open frames of this key too; repeatable. Raises `EncryptionKeyError` if it is no key."""
        new = _canonical(key)
        with self._changing:
            # Last: frames are sealed as before, and opening tries the primary first.
            self._become((*self._ring.raw, new))
        self.changed()

    def use(self, key: bytes | str) -> None:
        """Seal with this key from now on. Raises `EncryptionKeyError` if it was not added."""
        chosen = _canonical(key)
        with self._changing:
            self._expect(chosen)
            # A key that is named twice counts once, at its first place.
            self._become((chosen, *self._ring.raw))
        self.changed()

    def become(self, keys: Sequence[bytes | str]) -> None:
        """Have these keys and no others, of which the first seals.

        Raises `EncryptionKeyError` for none, and for what is no key; then nothing changes.
        """
        new = tuple(_canonical(key) for key in keys)
        with self._changing:
            self._become(new)
        self.changed()

    def remove(self, key: bytes | str) -> None:
        """Open frames of others no longer that this key has sealed.

        Raises `EncryptionKeyError` for the primary key and for one that was not added.
        """
        old = _canonical(key)
        with self._changing:
            self._expect(old)
            if old == self._ring.raw[0]:
                raise EncryptionKeyError(
                    f"key {fingerprint(old)} is the primary key: use another one before removing it"
                )
            self._become(tuple(kept for kept in self._ring.raw if kept != old))
        self.changed()

    def seal(self, plain: bytes, version: int) -> bytes:
        """Return a frame of that version, sealed with the primary key."""
        # One read of `_ring`: a change in another thread counts for all of this call, or for none.
        primary = self._ring.keys[0]
        primary.needed = time.monotonic()
        if version > LAST_OF_FERNET:
            return primary.gcm.seal(plain, version)
        # Raw, since base64 can be changed in places without changing what it decodes to.
        return bytes([version]) + base64.urlsafe_b64decode(primary.fernet.encrypt(plain))

    def open(self, frame: bytes) -> bytes:
        """Return the plain bytes if a key of the ring sealed exactly this frame.

        Raises `UndecryptableFrameError` for any other bytes.
        """
        return _opened(frame, self._ring.keys)

    def open_again(self, frame: bytes) -> bytes:
        """Return the plain bytes of a frame that this ring has sealed or opened before.

        The key may have been removed since: what waits at this node must not be lost by that.
        Raises `UndecryptableFrameError`.
        """
        return _opened(frame, (*self._ring.keys, *self._all_removed))

    def seal_token(self, plain: bytes) -> bytes:
        """Return a token of Fernet as miros-rabbitmq sends it, sealed with the primary key."""
        primary = self._ring.keys[0]
        primary.needed = time.monotonic()
        return primary.fernet.encrypt(plain)

    def open_token(self, token: bytes, *, again: bool = False) -> OpenedToken:
        """Open such a token; `again` is one that this ring has sealed, as `open_again` does.

        Raises `UndecryptableFrameError` for any other bytes, also for a second spelling of one.
        """
        # As `_fernet_opened` has it: of each token there is one spelling, by which it is known.
        raw = _unspelt(token)
        keys = (*self._ring.keys, *self._all_removed) if again else self._ring.keys
        plain = _opened(bytes([LAST_OF_FERNET]) + raw, keys)
        number = int.from_bytes(raw[-8:], "big") % _NUMBERS + 1
        return OpenedToken(plain, int.from_bytes(raw[1:9], "big"), number)

    @property
    def current(self) -> object:
        """The keys as they are now: the same object as long as nothing changes, and never again."""
        return self._ring

    @property
    def _ring(self) -> _Ring:
        # A ring without keys of its own has a default.
        return self._own or cast("KeyRing", self._default)._ring  # noqa: SLF001 - one of its own kind

    @property
    def _all_removed(self) -> tuple[_Key, ...]:
        inherited = self._default._all_removed if self._default else ()  # noqa: SLF001 - likewise
        return self._removed + inherited

    def _become(self, keys: tuple[bytes, ...]) -> None:
        before = self._ring
        self._own = new = _Ring(keys, before)
        gone = [key for key in before.keys if key not in new.keys]
        kept = [key for key in self._removed if key.raw not in new.raw]
        self._removed = (*gone, *kept)[:_MOST_REMOVED]

    def _expect(self, key: bytes) -> None:
        if key not in self._ring.raw:
            raise EncryptionKeyError(f"key {fingerprint(key)} is not in the ring: add it first")


class _Key:
    """A key, and when it was needed last."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.id = fingerprint(raw)
        self.fernet = Fernet(raw)
        self.gcm = GcmKey(base64.urlsafe_b64decode(raw))
        self.needed: float | None = None


class _Ring:
    """The keys and their order, never changed: a KeyRing replaces it as a whole."""

    def __init__(self, keys: Iterable[bytes], before: _Ring | None = None) -> None:
        self.raw = tuple(dict.fromkeys(keys))
        if not self.raw:
            raise EncryptionKeyError("a key ring needs at least one key")
        known = {key.raw: key for key in before.keys} if before else {}
        self.keys: tuple[_Key, ...] = tuple(known.get(raw) or _Key(raw) for raw in self.raw)
        self.ids = tuple(key.id for key in self.keys)
        goes_on = before is not None and before.raw[0] == self.raw[0]
        self.used_since: float = before.used_since if before and goes_on else time.time()


def _opened(frame: bytes, keys: Sequence[_Key]) -> bytes:
    with_gcm = frame[:1] > bytes([LAST_OF_FERNET])
    if with_gcm and len(keys) > 1:
        # First who has opened frames of this salt: then no other key derives one for it.
        keys = sorted(keys, key=lambda key: not key.gcm.knows(frame))
    token = b"" if with_gcm else base64.urlsafe_b64encode(frame[1:])
    for key in keys:
        plain = key.gcm.open(frame) if with_gcm else _fernet_opened(token, key.fernet)
        if plain is not None:
            key.needed = time.monotonic()
            return plain
    raise UndecryptableFrameError(
        "no key of the ring opens this frame; does every node have the same key?"
    )


def _unspelt(token: bytes) -> bytes:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except binascii.Error:
        return b""
    # The last digit of base64 may have bits that count for nothing.
    return raw if base64.urlsafe_b64encode(raw) == token else b""


def _fernet_opened(token: bytes, fernet: Fernet) -> bytes | None:
    try:
        return fernet.decrypt(token)
    except InvalidToken:
        return None


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
