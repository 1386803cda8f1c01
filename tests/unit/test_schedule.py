"""The tests of one network are given to one process."""

from __future__ import annotations

import pytest

from schedule import Schedule


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/lan/test_a.py::test_1", "tests/lan/test_b.py::test_2[x/y]", True),
        ("tests/unit/test_a.py::test_1", "tests/unit/test_a.py::test_2", True),
        ("tests/unit/test_a.py::test_1", "tests/unit/test_b.py::test_1", False),
    ],
)
def test_who_is_together(one: str, other: str, together: bool) -> None:
    scope_of = Schedule._split_scope
    schedule = Schedule.__new__(Schedule)
    assert (scope_of(schedule, one) == scope_of(schedule, other)) is together
