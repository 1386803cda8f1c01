"""redact: no secret that can be recognised stays, and nothing else goes."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.observe.logs.redaction import redact


@pytest.mark.parametrize(
    "text",
    [
        "amqp://peter@host:5672//",
        "amqp://host:5672/a and http://host/path",
        "rabbit_password: give it together with rabbit_user",
        "the password is wrong",
        "the bearer token is too old",
        "no authorization for this",
        "e->to_inner() outer->inner",
        "6f1c0d9be2a34c5d/chart_a/12",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abc\nHost: a", "Authorization: ***\nHost: a"),
        ("{'authorization': 'Basic a', 'b': 1}", "{'authorization': '***', 'b': 1}"),
        ("with bearer abc.def, status 401", "with bearer ***, status 401"),
    ],
)
def test_what_stands_around_a_header_stays(text: str, masked: str) -> None:
    assert redact(text) == redact(masked) == masked


def test_the_rest_of_a_url_stays() -> None:
    assert (
        redact("to amqp://peter:x@host:5672//, again") == "to amqp://peter:***@host:5672//, again"
    )


@given(st.text(), st.binary(min_size=32, max_size=32), st.text())
def test_no_text_around_a_key_keeps_it_visible(before: str, raw: bytes, after: str) -> None:
    key = _fernet_key(raw)

    assert key not in redact(before + key + after)


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "://",
        "://a:",
        "password=",
        "=",
        "-_",
        "password:'\\",
        "authorization:'\\",
        "authorization: \n",
        "bearer ",
    ],
)
def test_a_long_line_is_redacted_in_no_time(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    started = time.perf_counter()

    redact(text)

    assert time.perf_counter() - started < 5


def _fernet_key(raw: bytes) -> str:

    return base64.urlsafe_b64encode(raw).decode()
