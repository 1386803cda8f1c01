"""Signatures by which receivers tell nodes apart: Ed25519, one key for each node."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from miros_mesh.errors import IdentityError
from miros_mesh.forks import importing

SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32
# So that what is signed here is never taken for what a node's key may sign elsewhere.
_CONTEXT: Final = b"miros_mesh frame 4\0"
_PEM: Final = b"-----BEGIN "
# 96 bits: too many to look for a key that has the mark of another one.
_MARK_DIGITS: Final = 24


def generate_identity() -> bytes:
    """Make a new random private key, as url-safe base64."""
    return base64.urlsafe_b64encode(Ed25519PrivateKey.generate().private_bytes_raw())


class PublicKey:
    """The key that tells whether a node has signed; raises `IdentityError` for what is none."""

    def __init__(self, text: str) -> None:
        raw = _raw(text.encode(errors="replace"))
        if raw is None:
            raise IdentityError(
                "not a public key (32 bytes as url-safe base64); print that of a node with: "
                "miros-mesh keygen --identity FILE"
            )
        self.mark: str = hashlib.sha256(raw).hexdigest()[:_MARK_DIGITS]
        """Ends the incarnations of a node that has this key."""
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    def has_signed(self, node: str, content: bytes, signature: bytes) -> bool:
        """Whether this is the signature of the content, under the name of that node."""
        try:
            self._key.verify(signature, _signed(node, content))
        except InvalidSignature:
            return False
        return True


class Signer:
    """Signs for a node; raises `IdentityError` when `identity` is no private key.

    That is 32 bytes as url-safe base64, or a PEM without a password.
    """

    def __init__(self, node: str, identity: bytes) -> None:
        self.node = node
        self._key = _private(identity)
        raw = self._key.public_key().public_bytes_raw()
        self.public_key: str = base64.urlsafe_b64encode(raw).decode()
        """As it stands in `allowed_nodes`."""
        self.mark = PublicKey(self.public_key).mark
        """As `PublicKey.mark`."""

    def __repr__(self) -> str:
        return f"Signer({self.node!r}, public_key={self.public_key!r})"

    def is_made_of(self, key: object) -> bool:
        """Whether these bytes are its private key in another setting."""
        return isinstance(key, bytes) and _raw(key) == self._key.private_bytes_raw()

    def sign(self, content: bytes) -> bytes:
        """Return the signature of the content."""
        return self._key.sign(_signed(self.node, content))


def _signed(node: str, content: bytes) -> bytes:
    return b"%b%b\0%b" % (_CONTEXT, node.encode(), content)


def _private(identity: bytes) -> Ed25519PrivateKey:
    if identity.lstrip().startswith(_PEM):
        # It reads keys of every kind and imports what for; hardly a node has a PEM.
        with importing():
            from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - only here
                load_pem_private_key,
            )

        try:
            key = load_pem_private_key(identity, password=None)
        except TypeError:
            raise IdentityError("is a PEM with a password; give one without") from None
        except (ValueError, UnsupportedAlgorithm):
            raise IdentityError(f"is a PEM that holds no private key; {_MAKE}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityError(f"is a key of another kind than Ed25519; {_MAKE}")
        return key
    raw = _raw(identity)
    if raw is None:
        raise IdentityError(
            f"is no Ed25519 private key (32 bytes as url-safe base64, or a PEM); {_MAKE}"
        )
    return Ed25519PrivateKey.from_private_bytes(raw)


_MAKE: Final = "make one with: miros-mesh keygen --identity FILE"


def _raw(text: bytes) -> bytes | None:
    try:
        # `validate`, or characters that are not of the alphabet would be skipped.
        raw = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == _KEY_BYTES else None
