"""What each public signal may carry."""

from __future__ import annotations

import math
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from miros_mesh.discovery import signals
from miros_mesh.discovery.safety.payloads import understood
from miros_mesh.discovery.safety.plain import LONGEST_TEXT, MOST_PLAIN, PayloadProblemError
from miros_mesh.discovery.verdict import Verdict

OURS: dict[str, object] = {
    signals.CONNECTION_DISCOVERY: signals.ConnectionDiscoveryPayload(("red",), (), "x", ("blue",)),
    signals.CACHE: signals.CacheReadPayload({"hosts": ["red"]}, 1.0, 2.0, True, "file", False, "o"),
    signals.CACHE_FILE_READ: signals.CacheFileReadPayload("file", "o"),
    signals.CACHE_FILE_WRITE: signals.CacheWritePayload({"a": {"b": [1]}}, "file", "o"),
    signals.AMQP_CONSUMER_CHECK: signals.AMQPConsumerCheckPayload(
        "red", True, "#", "x", Verdict.OURS, 0.5, "o"
    ),
    signals.EVALUATE_HOSTS_FILE: signals.RequestPayload("o"),
    signals.RECCE_LAN: signals.RequestPayload("o"),
    signals.LAN_RECCE_COMPLETE: signals.RecceCompletePayload(("red", "[fd00::7]:1"), "blue", "o"),
    signals.REFACTOR_SEARCH: signals.RefactorSearchPayload("red", "#", "x", "o"),
}


class Check(NamedTuple):
    """As the ancestor's documents have it."""

    ip_address: Any
    result: Any
    routing_key: Any
    exchange_name: Any


@pytest.mark.parametrize("signal", sorted(signals.PUBLIC))
def test_what_a_chart_of_the_library_publishes_is_understood_as_it_is(signal: str) -> None:
    assert understood(signal, OURS[signal]) == OURS[signal]


@pytest.mark.parametrize(
    ("signal", "payload", "meant"),
    [
        (
            signals.AMQP_CONSUMER_CHECK,
            Check("192.168.1.77", False, "heya.man", "miros.mesh.exchange"),
            signals.AMQPConsumerCheckPayload(
                "192.168.1.77", False, "heya.man", "miros.mesh.exchange"
            ),
        ),
        (
            signals.REFACTOR_SEARCH,
            {"ip_address": "192.168.1.77", "routing_key": "archer.bob", "exchange_name": "x"},
            signals.RefactorSearchPayload("192.168.1.77", "archer.bob", "x"),
        ),
        (
            signals.CACHE_FILE_WRITE,
            {"addresses": ["192.168.1.75"], "time_out_in_minutes": 30},
            signals.CacheWritePayload({"addresses": ["192.168.1.75"], "time_out_in_minutes": 30}),
        ),
        (
            signals.CACHE_FILE_WRITE,
            {"dict": {"a": 1}, "file_name": "file"},
            signals.CacheWritePayload({"a": 1}, "file"),
        ),
        (signals.CACHE_FILE_WRITE, {"dict": 5}, signals.CacheWritePayload({"dict": 5})),
        (signals.CACHE_FILE_READ, None, signals.CacheFileReadPayload()),
        (signals.CACHE_FILE_READ, Path("a/b"), signals.CacheFileReadPayload("a/b")),
        (signals.CACHE_FILE_READ, {"file_name": "b"}, signals.CacheFileReadPayload("b")),
        (signals.RECCE_LAN, None, None),
        (signals.EVALUATE_HOSTS_FILE, None, None),
    ],
)
def test_what_the_documents_publish_is_understood(
    signal: str, payload: object, meant: object
) -> None:
    assert understood(signal, payload) == meant


class Raises:
    def __getattribute__(self, _: str) -> Any:
        raise SystemExit("a secret")


@pytest.mark.parametrize(
    ("signal", "payload", "problem"),
    [
        (signals.CONNECTION_DISCOVERY, None, "its payload is NoneType; it has to be a Connection"),
        (
            signals.CONNECTION_DISCOVERY,
            signals.ConnectionDiscoveryPayload("red", (), "x"),  # type: ignore[arg-type]
            "hosts of 'x' is str; it has to be a tuple of texts",
        ),
        (
            signals.CONNECTION_DISCOVERY,
            signals.ConnectionDiscoveryPayload((), (), "x", "red"),  # type: ignore[arg-type]
            "dead of 'x' is str; it has to be a tuple of texts",
        ),
        (signals.CACHE, 5, "its payload is int; it has to be a CacheReadPayload"),
        (
            signals.CACHE,
            signals.CacheReadPayload({"a": {1}}, 0.0, 0.0, False, "f"),
            "dict is dict; it has to be a dictionary of JSON types",
        ),
        (signals.CACHE_FILE_WRITE, {1: "a"}, "a dictionary of JSON types, with texts as keys"),
        (signals.CACHE_FILE_WRITE, None, "its payload is NoneType; it has to be a CacheWrite"),
        (
            signals.CACHE_FILE_WRITE,
            {"a": "a" * MOST_PLAIN},
            "a dictionary that is smaller, and nests less deep",
        ),
        (signals.AMQP_CONSUMER_CHECK, ("red", True), "its payload is tuple; it has to be"),
        (
            signals.AMQP_CONSUMER_CHECK,
            Check([], True, "#", "x"),
            "ip_address is list; it has to be a text",
        ),
        (signals.REFACTOR_SEARCH, None, "its payload is NoneType; it has to be a Refactor"),
        (signals.REFACTOR_SEARCH, {"ip_address": "red"}, "its payload has no routing_key"),
        (
            signals.REFACTOR_SEARCH,
            signals.RefactorSearchPayload("a" * (LONGEST_TEXT + 1), "#", "x"),
            "ip_address is str; it has to be a text of 4096 characters at most",
        ),
        (signals.RECCE_LAN, "now", "its payload is str; it has to be a RequestPayload"),
        (
            signals.LAN_RECCE_COMPLETE,
            signals.RecceCompletePayload(("red", "a b"), ""),
            "other_addresses is tuple; it has to be a tuple of hosts: entry 2 is none",
        ),
    ],
)
def test_anything_else_is_a_problem_that_says_what_is_wrong(
    signal: str, payload: object, problem: str
) -> None:
    with pytest.raises(PayloadProblemError) as caught:
        understood(signal, payload)
    assert problem in str(caught.value)


@pytest.mark.parametrize("signal", sorted(signals.PUBLIC))
def test_an_object_that_raises_is_a_problem_and_is_not_quoted(signal: str) -> None:
    with pytest.raises(PayloadProblemError) as caught:
        understood(signal, Raises())
    assert "secret" not in str(caught.value)


def test_what_is_understood_is_a_copy_of_plain_values() -> None:
    class Text(str):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    inner = {"b": [Text("c"), MappingProxyType({"d": 1.5})]}
    got = understood(signals.CACHE_FILE_WRITE, {"a": inner})
    assert isinstance(got, signals.CacheWritePayload)
    inner["b"].clear()
    assert got.dict == {"a": {"b": ["c", {"d": 1.5}]}}
    assert type(got.dict["a"]["b"][0]) is str


def test_what_nests_for_ever_is_a_problem() -> None:
    endless: dict[str, object] = {}
    endless["a"] = endless
    with pytest.raises(PayloadProblemError, match="nests less deep"):
        understood(signals.CACHE_FILE_WRITE, endless)


def test_a_number_may_be_any_that_a_float_can_hold() -> None:
    check = signals.AMQPConsumerCheckPayload("red", True, "#", "x", seconds=math.nan)
    got = understood(signals.AMQP_CONSUMER_CHECK, check)
    assert isinstance(got, signals.AMQPConsumerCheckPayload)
    assert math.isnan(got.seconds)
    with pytest.raises(PayloadProblemError):
        understood(
            signals.AMQP_CONSUMER_CHECK,
            signals.AMQPConsumerCheckPayload("red", True, "#", "x", seconds=10**400),
        )
