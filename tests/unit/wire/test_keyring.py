"""Key rings: the first key seals, all open, and none is ever shown."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import EncryptionKeyError, UndecryptableFrameError
from miros_mesh.wire.codec import FERNET_FRAME_VERSION, FRAME_VERSION
from miros_mesh.wire.keyring import KeyRing, fingerprint, generate_key

OLD, NEW, OTHER = generate_key(), generate_key(), generate_key()


# Of the session, for hypothesis runs a test many times.
@pytest.fixture(scope="session", params=[FERNET_FRAME_VERSION, FRAME_VERSION])
def version(request: pytest.FixtureRequest) -> int:
    """A version of each cipher."""
    chosen: int = request.param
    return chosen


@given(st.binary())
def test_what_was_sealed_opens(version: int, plain: bytes) -> None:
    ring = KeyRing([OLD])

    assert ring.open(ring.seal(plain, version)) == plain


@given(st.binary(max_size=200))
def test_bytes_that_nobody_sealed_are_refused(sealed: bytes) -> None:
    with pytest.raises(UndecryptableFrameError):
        KeyRing([OLD, NEW]).open(sealed)


def test_the_same_bytes_are_sealed_differently_each_time(version: int) -> None:
    ring = KeyRing([OLD])

    assert ring.seal(b"x", version) != ring.seal(b"x", version)


def test_a_ring_without_the_key_says_only_that_it_cannot_open(version: int) -> None:
    with pytest.raises(UndecryptableFrameError) as raised:
        KeyRing([NEW]).open(KeyRing([OLD]).seal(b"x", version))

    assert (
        str(raised.value)
        == "no key of the ring opens this frame; does every node have the same key?"
    )
    assert raised.value.__context__ is None


def test_every_key_of_the_ring_opens(version: int) -> None:
    ring = KeyRing([OLD, NEW, OTHER])

    for key in (OLD, NEW, OTHER):
        assert ring.open(KeyRing([key]).seal(b"x", version)) == b"x"


def test_the_first_key_seals(version: int) -> None:
    sealed = KeyRing([OLD, NEW]).seal(b"x", version)

    assert KeyRing([OLD]).open(sealed) == b"x"
    with pytest.raises(UndecryptableFrameError):
        KeyRing([NEW]).open(sealed)


def test_a_rotation_never_leaves_two_nodes_without_a_common_key(version: int) -> None:
    nodes = [KeyRing([OLD]), KeyRing([OLD])]

    for step in (KeyRing.add, KeyRing.use):
        for node in nodes:
            step(node, NEW)
            _assert_they_understand_each_other(*nodes, version)
    for node in nodes:
        node.remove(OLD)
        _assert_they_understand_each_other(*nodes, version)

    assert [node.fingerprints for node in nodes] == [(fingerprint(NEW),)] * 2


def test_an_added_key_opens_and_does_not_seal(version: int) -> None:
    ring = KeyRing([OLD])

    ring.add(NEW)

    assert ring.open(KeyRing([NEW]).seal(b"x", version)) == b"x"
    assert KeyRing([OLD]).open(ring.seal(b"x", version)) == b"x"


def test_adding_a_key_again_changes_nothing() -> None:
    ring = KeyRing([OLD, NEW])

    ring.add(OLD)

    assert ring.fingerprints == (fingerprint(OLD), fingerprint(NEW))


def test_a_used_key_goes_first_and_the_others_keep_their_order() -> None:
    ring = KeyRing([OLD, NEW, OTHER])

    ring.use(OTHER)

    assert ring.fingerprints == tuple(map(fingerprint, (OTHER, OLD, NEW)))


def test_a_removed_key_opens_nothing_any_more(version: int) -> None:
    ring = KeyRing([NEW, OLD])

    ring.remove(OLD)

    with pytest.raises(UndecryptableFrameError):
        ring.open(KeyRing([OLD]).seal(b"x", version))


def test_the_primary_key_cannot_be_removed() -> None:
    ring = KeyRing([OLD, NEW])

    with pytest.raises(EncryptionKeyError, match="is the primary key"):
        ring.remove(OLD)

    assert len(ring.fingerprints) == 2


@pytest.mark.parametrize("change", [KeyRing.use, KeyRing.remove])
def test_a_key_that_is_not_in_the_ring_can_be_neither_used_nor_removed(change: Any) -> None:
    with pytest.raises(EncryptionKeyError, match=f"{fingerprint(NEW)} is not in the ring"):
        change(KeyRing([OLD]), NEW)


def test_a_ring_needs_a_key() -> None:
    with pytest.raises(EncryptionKeyError, match="at least one key"):
        KeyRing([])


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"rabbit", id="a password"),
        pytest.param(OLD[:-1], id="cut short"),
        pytest.param(OLD + b"\n", id="with the newline of its file"),
        pytest.param(base64.urlsafe_b64encode(b"x" * 31), id="31 bytes"),
        pytest.param(base64.urlsafe_b64encode(b"x" * 33), id="33 bytes"),
        pytest.param("schlüssel", id="not ASCII"),
        pytest.param(42, id="a number"),
        pytest.param(None, id="None"),
    ],
)
def test_what_is_no_fernet_key_is_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(EncryptionKeyError, match="miros-mesh keygen") as raised:
        KeyRing([OLD, wrong])

    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert not wrong or str(wrong) not in str(raised.value)


def test_a_single_key_in_the_place_of_a_list_is_refused() -> None:
    with pytest.raises(EncryptionKeyError):
        KeyRing(OLD)  # type: ignore[arg-type]


def test_two_spellings_of_a_key_are_one_key() -> None:
    raw = b"\xff" * 32
    ring = KeyRing([base64.urlsafe_b64encode(raw)])

    ring.add(base64.urlsafe_b64encode(raw).replace(b"8=", b"9="))

    assert len(ring.fingerprints) == 1


def test_neither_repr_nor_fingerprint_shows_a_key() -> None:
    shown = repr(KeyRing([OLD, NEW]))

    assert shown == f"KeyRing({fingerprint(OLD)}, {fingerprint(NEW)})"
    assert fingerprint(OLD) not in OLD.decode()
    assert fingerprint(OLD.decode()) == fingerprint(OLD)
    assert fingerprint(OLD) != fingerprint(NEW)


def test_generated_keys_fit_and_differ() -> None:
    assert generate_key() != generate_key()
    KeyRing([generate_key()])


def test_frames_are_sealed_and_opened_while_the_keys_change(version: int) -> None:
    ring, failures, done = KeyRing([OLD, NEW]), [], threading.Event()

    def seal_and_open() -> None:
        while not done.is_set():
            if ring.open(ring.seal(b"x", version)) != b"x":
                failures.append("opened to something else")

    readers = [threading.Thread(target=seal_and_open) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(300):
        ring.use(NEW)
        ring.use(OLD)
    done.set()
    for reader in readers:
        reader.join(timeout=10)

    assert not failures
    assert not any(reader.is_alive() for reader in readers)


def test_two_threads_that_change_a_ring_lose_no_change() -> None:
    ring, keys = KeyRing([OLD]), [generate_key() for _ in range(60)]

    def add(mine: list[bytes]) -> None:
        for key in mine:
            ring.add(key)

    adders = [threading.Thread(target=add, args=(keys[start::2],)) for start in (0, 1)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join(timeout=10)

    assert set(ring.fingerprints) == {fingerprint(key) for key in (OLD, *keys)}


def _assert_they_understand_each_other(one: KeyRing, other: KeyRing, version: int) -> None:
    assert one.open(other.seal(b"x", version)) == b"x"
    assert other.open(one.seal(b"x", version)) == b"x"


def test_a_ring_without_keys_has_those_of_another_until_it_is_changed() -> None:
    mesh = KeyRing([OLD])
    snoop = KeyRing(default=mesh)

    mesh.add(NEW)
    mesh.use(NEW)
    assert snoop.fingerprints == mesh.fingerprints
    snoop.add(OTHER)
    snoop.use(OTHER)
    mesh.remove(OLD)

    assert snoop.fingerprints == tuple(map(fingerprint, (OTHER, NEW, OLD)))
    assert mesh.fingerprints == (fingerprint(NEW),)


def test_a_ring_becomes_what_it_is_told_as_a_whole_or_not_at_all() -> None:
    ring = KeyRing([OLD])

    ring.become((NEW, OLD))
    for bad in ((), (NEW, b"no key")):
        with pytest.raises(EncryptionKeyError):
            ring.become(bad)

    assert ring.fingerprints == (fingerprint(NEW), fingerprint(OLD))


def test_what_it_sealed_opens_again_after_its_key_was_removed_and_for_others_no_more(
    version: int,
) -> None:
    ring = KeyRing([OLD, NEW])
    sealed = ring.seal(b"mine", version)
    ring.use(NEW)
    ring.remove(OLD)

    assert ring.open_again(sealed) == b"mine"
    with pytest.raises(UndecryptableFrameError):
        ring.open(sealed)
    with pytest.raises(UndecryptableFrameError):
        ring.open_again(KeyRing([OTHER]).seal(b"a stranger's", version))


def test_it_says_when_each_key_was_needed_last_and_since_when_the_first_one_seals(
    version: int,
) -> None:
    ring = KeyRing([OLD, NEW])
    began = ring.used_since
    assert [state.idle_s for state in ring.states] == [None, None]

    ring.open(KeyRing([NEW]).seal(b"x", version))
    old, new = ring.states
    assert (old.id, old.idle_s) == (fingerprint(OLD), None)
    assert new.idle_s is not None

    ring.add(OTHER)
    assert ring.used_since == began
    ring.use(NEW)
    assert ring.used_since > began
    # What was noted of a key stays with it
    assert ring.states[0].idle_s is not None


def test_each_change_is_told_after_it_was_made_and_a_refused_one_is_none() -> None:
    told: list[tuple[str, ...]] = []
    ring = KeyRing([OLD])
    ring.changed = lambda: told.append(ring.fingerprints)

    ring.add(NEW)
    ring.use(NEW)
    ring.remove(OLD)
    with pytest.raises(EncryptionKeyError):
        ring.remove(NEW)

    old, new = fingerprint(OLD), fingerprint(NEW)
    assert told == [(old, new), (new, old), (new,)]


def test_a_token_is_fernets_own_and_says_when_it_was_sealed() -> None:
    old, new = generate_key(), generate_key()
    ring = KeyRing([new, old])

    assert Fernet(new).decrypt(ring.seal_token(b"plain")) == b"plain"
    opened = ring.open_token(Fernet(old).encrypt_at_time(b"plain", 1_234_567_890))
    assert (opened.plain, opened.sealed_at) == (b"plain", 1_234_567_890)
    assert 1 <= opened.number < 2**63


def test_a_token_has_one_spelling() -> None:
    ring = KeyRing([generate_key()])
    token = ring.seal_token(b"plain")
    # As base64 reads it, each of these is the same.
    for other in (token + b"\n", b" " + token, token[:40] + b"!" + token[40:]):
        with pytest.raises(UndecryptableFrameError):
            ring.open_token(other)


def test_a_token_of_a_removed_key_is_opened_again_and_not_anew() -> None:
    old, new = generate_key(), generate_key()
    ring = KeyRing([old])
    token = ring.seal_token(b"plain")
    ring.add(new)
    ring.use(new)
    ring.remove(old)

    assert ring.open_token(token, again=True).plain == b"plain"
    with pytest.raises(UndecryptableFrameError):
        ring.open_token(token)
