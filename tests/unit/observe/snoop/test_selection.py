"""Patterns, and the records that fit them."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.observe.snoop.selection import Selection, signal_of, states_of
from support.sealed import record


@pytest.mark.parametrize(
    ("patterns", "fits"),
    [
        ({}, True),
        ({"charts": "do?r"}, True),
        ({"charts": ["gate", "door"]}, True),
        ({"charts": "Door"}, False),
        ({"charts": "door", "kinds": "spy"}, False),
        ({"signals": "kn*", "states": "shut"}, True),
        ({"states": "[nm]*"}, False),
    ],
)
def test_a_record_must_fit_a_pattern_of_each_field(patterns: dict[str, Any], fits: bool) -> None:
    opened = record(chart="door", signal="knock", from_state="shut", to_state="open")
    assert Selection.of(**patterns).has(opened) == fits


@pytest.mark.parametrize(
    ("line", "signal", "states"),
    [
        ("knock:closed", "knock", ("closed",)),
        ("a:b:closed", "a:b", ("closed",)),
        ("START", "", ()),
        ("knock:closed:HOOK", "knock", ("closed",)),
        ("knock:HOOK", "knock", ("HOOK",)),
        ("<- Queued:(0) Deferred:(0)", "", ()),
    ],
)
def test_a_line_of_spy_names_signal_and_state(
    line: str, signal: str, states: tuple[str, ...]
) -> None:
    spied = record(line, kind="spy")
    assert (signal_of(spied), states_of(spied)) == (signal, states)
