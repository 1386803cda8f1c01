"""What a publisher remembers of refusals, and for how long."""

from __future__ import annotations

import pytest

from miros_mesh.errors import BrokerRefusedError, MessageTooLargeError, PermissionDeniedError
from miros_mesh.link import known_refusals
from miros_mesh.link.known_refusals import KnownRefusals
from support.post_office import EXCHANGE, Letter, letter

FORBIDDEN = PermissionDeniedError("no")
UNKNOWN = BrokerRefusedError("no")
TOO_LARGE = MessageTooLargeError("too large")


def test_a_permission_that_lacks_lacks_for_its_topic_alone() -> None:
    known = KnownRefusals()

    known.learn(letter("one", "north"), FORBIDDEN)

    assert known.refusal(letter("two", "north")) is FORBIDDEN
    assert known.refusal(letter("two", "south")) is None
    assert not known.too_large(letter("one", "north"))


def test_a_size_that_is_refused_is_refused_for_all_that_are_as_large() -> None:
    known = KnownRefusals()

    known.learn(letter("12345"), TOO_LARGE)
    known.learn(letter("123"), TOO_LARGE)
    known.learn(letter("1234"), TOO_LARGE)

    assert known.refusal(letter("123", "other")) is TOO_LARGE
    assert known.too_large(letter("1234"))
    assert known.refusal(letter("12")) is None
    assert not known.too_large(letter("12"))


def test_another_refusal_says_nothing_of_other_parcels_at_first() -> None:
    known = KnownRefusals()

    known.learn(letter("one"), UNKNOWN)
    known.learn(letter("two"), UNKNOWN)

    assert known.refusal(letter("three")) is None


def test_another_refusal_of_several_in_a_row_is_one_of_their_topic() -> None:
    known = KnownRefusals()

    for text in ("one", "two", "three"):
        known.learn(letter(text, "north"), UNKNOWN)

    assert known.refusal(letter("four", "north")) is UNKNOWN
    assert known.refusal(letter("four", "south")) is None


def test_several_refusals_are_not_in_a_row_when_one_between_was_confirmed() -> None:
    known = KnownRefusals()

    for text in ("one", "two", "three", "four"):
        known.learn(letter(text), UNKNOWN)
        known.forget(letter("taken"), 5)

    assert known.refusal(letter("five")) is None


def test_a_refusal_of_several_events_may_mean_one_of_them() -> None:
    known = KnownRefusals()

    for _ in range(3):
        known.learn(Letter(b"many", events=2), UNKNOWN)

    assert known.refusal(letter("one")) is None


def test_an_exchange_that_is_missing_is_missing_for_all_its_topics() -> None:
    known = KnownRefusals()

    known.learn_missing(EXCHANGE, FORBIDDEN)

    assert known.refusal(letter("one", "north")) is FORBIDDEN
    assert known.refusal(letter("one", "south")) is FORBIDDEN
    assert known.refusal(Letter(b"one", exchange="another")) is None
    known.forget(letter("one", "north"), 3)
    assert known.refusal(letter("one", "south")) is None


def test_the_broker_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_refusals, "_BELIEVED_S", 0.0)
    known = KnownRefusals()

    known.learn(letter("one", "north"), FORBIDDEN)
    known.learn(letter("one"), TOO_LARGE)

    assert known.refusal(letter("one", "north")) is None
    assert known.refusal(letter("one")) is None
    assert known.too_large(letter("one"))


def test_what_is_confirmed_disproves_it() -> None:
    known = KnownRefusals()
    known.learn(letter("one", "north"), FORBIDDEN)
    known.learn(letter("123"), TOO_LARGE)

    known.forget(letter("two", "north"), 2)
    assert known.refusal(letter("1", "north")) is None
    assert known.too_large(letter("123"))

    known.forget(letter("123"), 3)
    assert not known.too_large(letter("123"))
