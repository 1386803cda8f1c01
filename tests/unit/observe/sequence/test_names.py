"""Names that may hold anything, in one line and without harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.observe.sequence.names import LONGEST, escaped, shown


@given(st.text())
def test_a_name_is_one_line_and_never_empty(name: str) -> None:
    line = shown(name)
    assert line
    assert line.isprintable()
    assert len(line) <= LONGEST


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a_b-c/d", "a_b-c/d"),
        ("a__b", "a_<95>b"),
        ("x; y#z", "x<59> y<35>z"),
        ("größer (1)", "größer (1)"),
    ],
)
def test_what_a_language_could_take_for_its_own_is_escaped(text: str, safe: str) -> None:
    assert escaped(text, lambda code: f"<{code}>") == safe
