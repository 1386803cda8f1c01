"""What several receivers share is taken at once, and once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.order.streams import Admission
from miros_mesh.networks.order.unordered import Unordered

ONE, OTHER = ("a", "chart"), ("b", "chart")


@given(st.lists(st.integers(1, 30), max_size=60))
def test_each_item_comes_once_in_whatever_order(numbers: list[int]) -> None:
    known: Unordered[int] = Unordered(100)

    given = [n for number in numbers for n in known.admit(ONE, number, number, 0.0)[1]]

    assert given == list(dict.fromkeys(numbers))
    assert known.holes() == {}
    assert known.passed() == {}


def test_senders_have_numbers_of_their_own() -> None:
    known: Unordered[int] = Unordered(100)

    assert known.admit(ONE, 1, 1, 0.0) == (Admission.NEW, (1,))
    assert known.admit(OTHER, 1, 2, 0.0) == (Admission.NEW, (2,))
    assert known.admit(ONE, 1, 3, 0.0) == (Admission.DUPLICATE, ())
    assert known.has(OTHER, 1)
    assert not known.has(OTHER, 2)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    known: Unordered[int] = Unordered(2)

    for number in (1, 2, 3):
        known.admit(ONE, number, number, 0.0)

    assert not known.has(ONE, 1)
    assert known.has(ONE, 2)


def test_what_was_given_up_is_new_when_it_comes_again() -> None:
    known: Unordered[int] = Unordered(100)
    known.admit(ONE, 1, 1, 0.0)
    known.admit(ONE, 2, 2, 0.0)

    known.begin_anew([(ONE, 2), (ONE, 7)])

    assert known.admit(ONE, 1, 1, 0.0)[0] is Admission.DUPLICATE
    assert known.admit(ONE, 2, 2, 0.0) == (Admission.NEW, (2,))


def test_nothing_is_ever_missed() -> None:
    known: Unordered[int] = Unordered(100)
    known.admit(ONE, 5, 5, 0.0)

    assert not known.wants(ONE, 4)
    assert not known.unsure(ONE)
    assert known.firsts([ONE]) == {}
    assert [*known.relieve(ONE), *known.pass_old(9.0), *known.expire(9.0)] == []
    for passed in (
        known.skip(ONE, [(1, 4)]),
        known.others(ONE, [(1, 4)]),
        known.pass_over(ONE, 4),
    ):
        assert (passed.missing, tuple(passed.items)) == (0, ())
