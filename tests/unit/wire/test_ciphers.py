"""AES-256-GCM: what was changed is refused, and no nonce is used twice under one derived key."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import UndecryptableFrameError
from miros_mesh.wire.ciphers import (
    GCM_OVERHEAD_BYTES,
    NUMBER_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    GcmKey,
)
from miros_mesh.wire.codec import FRAME_VERSION, SIGNED_FRAME_VERSION
from miros_mesh.wire.keyring import KeyRing, generate_key
from support.forked import returned_by_a_child

RAW, OTHER_RAW = bytes(range(32)), bytes(range(1, 33))
LIMIT_S = 30.0
NONCE_ENDS = 1 + SALT_BYTES + NUMBER_BYTES


def nonces(frames: Sequence[bytes]) -> set[bytes]:
    """Salts, each with a number: what must never come twice."""
    return {frame[1:NONCE_ENDS] for frame in frames}


def salts(frames: Sequence[bytes]) -> set[bytes]:
    return {frame[1 : 1 + SALT_BYTES] for frame in frames}


@given(st.binary(max_size=5_000), st.sampled_from([FRAME_VERSION, SIGNED_FRAME_VERSION]))
def test_what_was_sealed_opens_and_is_as_much_longer_as_stated(plain: bytes, version: int) -> None:
    frame = GcmKey(RAW).seal(plain, version)

    assert len(frame) == 1 + len(plain) + GCM_OVERHEAD_BYTES
    assert frame[0] == version
    assert GcmKey(RAW).open(frame) == plain


def test_a_frame_is_what_the_page_on_the_wire_says() -> None:
    """Made here anew from RFC 5869 and NIST SP 800-38D, not by the code that seals."""
    key = GcmKey(RAW)
    key.seal(b"the first", FRAME_VERSION)
    frame = key.seal(b"the second", FRAME_VERSION)

    salt, number = frame[1:17], frame[17:25]
    derived = HKDF(SHA256(), 32, salt, b"miros_mesh frame AES-256-GCM").derive(RAW)
    sealed = AESGCM(derived).encrypt(bytes(4) + number, b"the second", b"\x05" + salt)

    assert number == bytes([0, 0, 0, 0, 0, 0, 0, 1])
    assert frame == b"\x05" + salt + number + sealed


def test_a_frame_of_the_first_release_that_seals_so_can_be_read_for_ever() -> None:
    frame = bytes.fromhex(KEPT)

    assert GcmKey(RAW).open(frame) == b"a frame of version 5"


# Of RAW, with a salt of sixteen times 0x07 and the number 1.
KEPT = (
    "05" + "07" * 16 + "0000000000000001"
    "0191560f618d8c24d2fae7a489916be8c30148822fc2037884b6de49b4a6b2d7f14dcabe"
)


def test_every_changed_byte_is_refused() -> None:
    reader, frame = GcmKey(RAW), GcmKey(RAW).seal(b"press", FRAME_VERSION)

    for position in range(len(frame)):
        for bit in range(8):
            changed = bytearray(frame)
            changed[position] ^= 1 << bit
            assert reader.open(bytes(changed)) is None
    assert reader.open(frame) == b"press"


def test_what_is_cut_short_or_made_longer_is_refused() -> None:
    reader, frame = GcmKey(RAW), GcmKey(RAW).seal(b"press", FRAME_VERSION)

    assert not any(reader.open(frame[:length]) for length in range(len(frame)))
    assert reader.open(frame + b"\0") is None
    assert reader.open(frame[:1] + bytes(GCM_OVERHEAD_BYTES)) is None
    assert GCM_OVERHEAD_BYTES == SALT_BYTES + NUMBER_BYTES + TAG_BYTES


def test_another_key_opens_nothing() -> None:
    assert GcmKey(OTHER_RAW).open(GcmKey(RAW).seal(b"press", FRAME_VERSION)) is None


def test_each_key_that_seals_has_a_salt_of_its_own() -> None:
    frames = [GcmKey(RAW).seal(b"press", FRAME_VERSION) for _ in range(20)]

    assert len(salts(frames)) == 20


def test_frames_of_one_salt_are_counted() -> None:
    key = GcmKey(RAW)
    frames = [key.seal(b"press", FRAME_VERSION) for _ in range(300)]

    assert len(salts(frames)) == 1
    numbers = [int.from_bytes(frame[1 + SALT_BYTES : NONCE_ENDS], "big") for frame in frames]
    assert numbers == list(range(300))


def test_who_has_used_up_its_numbers_begins_with_a_new_salt() -> None:
    key = GcmKey(RAW, most_sealed=3)
    frames = [key.seal(b"press", FRAME_VERSION) for _ in range(8)]

    assert [len(salts(frames[start : start + 3])) for start in (0, 3, 6)] == [1, 1, 1]
    assert len(salts(frames)) == 3
    assert len(nonces(frames)) == 8
    reader = GcmKey(RAW)
    assert [reader.open(frame) for frame in frames] == [b"press"] * 8


@pytest.mark.parametrize("most_sealed", [7, 2**32])
def test_threads_that_seal_at_once_never_use_a_nonce_twice(most_sealed: int) -> None:
    key, frames, start = GcmKey(RAW, most_sealed=most_sealed), [], threading.Event()

    def seal() -> None:
        start.wait(LIMIT_S)
        frames.extend([key.seal(b"press", FRAME_VERSION) for _ in range(500)])

    threads = [threading.Thread(target=seal) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join(LIMIT_S)

    assert len(frames) == 8 * 500
    assert len(nonces(frames)) == 8 * 500


def test_a_child_of_a_fork_has_a_salt_of_its_own() -> None:
    key = GcmKey(RAW)
    before = key.seal(b"press", FRAME_VERSION)

    child, grandchild = returned_by_a_child(
        lambda: (sealed_by(key), returned_by_a_child(lambda: sealed_by(key)))
    )
    after = key.seal(b"press", FRAME_VERSION)

    assert salts([before]) == salts([after])
    assert len(salts([before, child, grandchild])) == 3


def test_a_fork_while_another_thread_holds_the_lock_hangs_no_child() -> None:
    key = GcmKey(RAW)
    before = key.seal(b"press", FRAME_VERSION)

    with key._own.lock:
        child = returned_by_a_child(lambda: sealed_by(key))
        opened = returned_by_a_child(lambda: key.open(before))

    assert salts([child]) != salts([before])
    assert opened == b"press"


def sealed_by(key: GcmKey) -> bytes:
    return key.seal(b"press", FRAME_VERSION)


def test_only_what_has_opened_a_frame_is_kept_and_no_more_of_it_than_stated() -> None:
    reader = GcmKey(RAW, most_known=2)
    first, second, third = (sealed_by(GcmKey(RAW)) for _ in range(3))
    for frame in (first, second):
        reader.open(frame)

    for _ in range(10):
        reader.open(bytes([FRAME_VERSION]) + os.urandom(100))
        reader.open(sealed_by(GcmKey(OTHER_RAW)))
    assert (reader.knows(first), reader.knows(second)) == (True, True)

    # The one that was needed last stays.
    reader.open(first)
    reader.open(third)
    known = [reader.knows(frame) for frame in (first, second, third)]
    assert known == [True, False, True]
    assert reader.open(second) == b"press"


def test_who_opens_frames_of_one_salt_derives_its_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []
    original = GcmKey._derived

    def counting(self: GcmKey, salt: bytes) -> Any:
        derived.append(salt)
        return original(self, salt)

    new, old = generate_key(), generate_key()
    sender, reader = KeyRing([new]), KeyRing([old, new])
    monkeypatch.setattr(GcmKey, "_derived", counting)
    frames = [sender.seal(b"press", FRAME_VERSION) for _ in range(10)]
    derived.clear()

    assert [reader.open(frame) for frame in frames] == [b"press"] * 10
    # By the first key, which is another one, and by the one that it is.
    assert len(derived) == 2


def test_a_salt_that_another_key_knows_does_not_keep_a_frame_from_its_own() -> None:
    """As when who has one key of a ring uses the salts that it hears under the other one."""
    one, other = generate_key(), generate_key()
    honest, reader = KeyRing([one]), KeyRing([other, one])
    frame = honest.seal(b"honest", FRAME_VERSION)
    thief = KeyRing([other])
    sealing = thief._ring.keys[0].gcm
    sealing.seal(b"", FRAME_VERSION)
    salt = frame[1 : 1 + SALT_BYTES]
    sealing._own.sealing = sealing._own.sealing._replace(  # type: ignore[union-attr]
        salt=salt, cipher=sealing._derived(salt)
    )

    assert reader.open(thief.seal(b"stolen", FRAME_VERSION)) == b"stolen"
    assert reader.open(frame) == b"honest"


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(rest: bytes) -> None:
    with pytest.raises(UndecryptableFrameError):
        KeyRing([generate_key()]).open(bytes([FRAME_VERSION]) + rest)
