"""Which letters a filter means, and what it does with what is not known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.dead_letters.filters import Filters
from miros_mesh.dead_letters.letter import Letter, id_of, letter_of
from miros_mesh.errors import SelectionError
from support.dead_letters import refused

LETTER = letter_of(b"sealed", "broker", refused("knock", time=1_000.0))
SEALED = letter_of(b"others", "local", None)


@pytest.mark.parametrize(
    ("filters", "has"),
    [
        ({}, True),
        ({"signal": "kn?ck"}, True),
        ({"signal": ["ring", "knock"]}, True),
        ({"signal": "Knock"}, False),
        ({"signal": "knock", "chart": "window"}, False),
        ({"sender": "bell", "node": "house", "topic": "miros.*"}, True),
        ({"since": 1_000.0, "before": 1_000.1}, True),
        ({"before": 1_000.0}, False),
        ({"id": LETTER.id}, True),
        ({"id": [LETTER.id[:4]]}, False),
        ({"place": "local"}, False),
        ({"signal": None}, True),
        ({"peer": "*"}, False),
        ({"peer": None}, True),
    ],
)
def test_a_letter_has_to_fit_each_filter_that_is_given(filters: Any, has: bool) -> None:
    assert Filters.of(**filters).has(LETTER) is has


def test_a_letter_that_a_broker_refused_is_found_by_its_address() -> None:
    letter = letter_of(b"sealed", "local", refused(peer="amqp://peter@10.0.0.7:5672/v"))
    assert Filters.of(peer="*@10.0.0.7:*").has(letter)
    assert not Filters.of(peer="*@10.0.0.8:*").has(letter)


def test_no_ids_mean_no_letter_and_not_all_of_them() -> None:
    assert not Filters.of(id=[]).has(LETTER)


@pytest.mark.parametrize("filters", [{"signal": "*"}, {"reason": "*"}, {"since": 0.0}])
def test_what_is_not_known_of_a_sealed_letter_fits_nothing(filters: Any) -> None:
    assert not Filters.of(**filters).has(SEALED)
    assert Filters.of(id=SEALED.id, place="local").has(SEALED)


def test_a_place_that_there_is_not_is_refused() -> None:
    with pytest.raises(SelectionError, match="one of broker, local"):
        Filters.of(place="moon")


@given(st.binary(), st.binary())
def test_an_id_is_made_of_the_letter_alone(one: bytes, other: bytes) -> None:
    assert (id_of(one) == id_of(other)) is (one == other)
    assert set(id_of(one)) <= set("0123456789abcdef")


def test_no_payload_is_in_what_people_see() -> None:
    letter = letter_of(b"x", "broker", refused("knock", "hush"))
    assert isinstance(letter, Letter)
    assert "hush" not in repr(letter)
