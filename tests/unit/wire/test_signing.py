"""A node's own key: what it signs only its public key takes, and what is no key is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import IdentityError
from miros_mesh.wire.signing import SIGNATURE_BYTES, PublicKey, Signer, generate_identity

SIGNER = Signer("press", generate_identity())
KEY = PublicKey(SIGNER.public_key)
CONTENT = b"what is said"
SIGNATURE = SIGNER.sign(CONTENT)


def pem(
    key: Ed25519PrivateKey | X25519PrivateKey,
    lock: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())


def test_a_public_key_knows_what_its_node_has_signed() -> None:
    assert len(SIGNATURE) == SIGNATURE_BYTES
    assert KEY.has_signed("press", CONTENT, SIGNATURE)
    assert not KEY.has_signed("saw", CONTENT, SIGNATURE)
    assert not PublicKey(Signer("press", generate_identity()).public_key).has_signed(
        "press", CONTENT, SIGNATURE
    )


def test_what_the_key_signs_elsewhere_is_no_frame() -> None:
    # Given a key that is used by another program, too
    key = Ed25519PrivateKey.generate()
    public = PublicKey(Signer("press", pem(key)).public_key)

    assert not public.has_signed("press", CONTENT, key.sign(CONTENT))
    assert not public.has_signed("press", CONTENT, key.sign(b"press\0" + CONTENT))


@given(at=st.integers(0, SIGNATURE_BYTES - 1), change=st.integers(1, 255))
def test_any_changed_byte_of_a_signature_is_noticed(at: int, change: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[at] ^= change
    assert not KEY.has_signed("press", CONTENT, bytes(changed))


def test_a_pem_and_its_bytes_are_one_key() -> None:
    key = Ed25519PrivateKey.generate()
    text = base64.urlsafe_b64encode(key.private_bytes_raw())

    assert Signer("a", pem(key)).public_key == Signer("a", text).public_key
    assert Signer("a", pem(key)).mark == Signer("b", text + b"\n").mark


def _public_pem() -> bytes:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        pytest.param(b"", "no Ed25519 private key", id="empty"),
        pytest.param(generate_identity()[:-4], "no Ed25519 private key", id="short"),
        pytest.param(b"!" + generate_identity(), "no Ed25519 private key", id="garbled"),
        pytest.param(pem(X25519PrivateKey.generate()), "another kind", id="X25519"),
        pytest.param(_public_pem(), "holds no private key", id="public"),
        pytest.param(b"-----BEGIN nothing", "holds no private key", id="garbled PEM"),
        pytest.param(
            pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
            "with a password",
            id="locked",
        ),
    ],
)
def test_what_is_no_private_key_is_refused_and_not_quoted(identity: bytes, problem: str) -> None:
    with pytest.raises(IdentityError, match=problem) as refused:
        Signer("press", identity)
    assert not identity or identity.decode() not in str(refused.value)


def test_what_is_no_public_key_is_refused() -> None:
    with pytest.raises(IdentityError, match="keygen --identity"):
        PublicKey("no key")


def test_a_signer_does_not_show_its_private_key() -> None:
    identity = generate_identity()
    assert identity.decode().rstrip("=") not in repr(Signer("press", identity))


def test_a_signer_knows_its_key_in_other_settings() -> None:
    identity = generate_identity()
    signer = Signer("press", identity)
    assert signer.is_made_of(identity)
    assert not signer.is_made_of(generate_identity())
    assert not signer.is_made_of(None)
