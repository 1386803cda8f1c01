"""What a public signal may carry: a program may publish anything under its name.

A payload is of the class in `signals`, or a named tuple with its fields, as the ancestor's programs
make them; under some signals also what the ancestor's documents write there. All of it becomes an
object of that class, with plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import partial
from os import PathLike, fspath
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery import signals
from miros_mesh.discovery.safety.plain import (
    PayloadProblemError,
    Reader,
    content,
    flag,
    kind_of,
    number,
    text,
    texts,
)
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import AddressError

Values: TypeAlias = Mapping[str, Any]


def understood(signal: str, payload: object) -> object:
    """Return the payload of a public signal as its class; None where the signal needs none.

    Raises `PayloadProblemError`, whatever the payload is and does.
    """
    try:
        return _FORMS[signal](payload)
    except PayloadProblemError:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - of whatever class a program made
        # Without the error, whose text may quote the payload.
        raise PayloadProblemError("its payload raises when it is read") from None


def _hosts(value: Any) -> tuple[str, ...]:
    hosts = texts(value)
    for place, host in enumerate(hosts, 1):
        try:
            Endpoint.parse(host, DEFAULT_PORTS["amqp"])
        except AddressError as error:
            raise PayloadProblemError(f"a tuple of hosts: entry {place} is none, {error}") from None
    return hosts


def _verdict(value: Any) -> Verdict:
    word = text(value)
    if word not in set(Verdict):
        raise PayloadProblemError("a verdict")
    return Verdict(word)


def _unread(_: Any) -> tuple[str, ...]:
    # For programs; the library itself makes no use of them.
    return ()


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "amqp_urls": _unread,
    "created_at": number,
    "dead": texts,
    "dict": content,
    "dispatcher": text,
    "ends_search": flag,
    "exchange_name": text,
    "expired": flag,
    "file_name": text,
    "hosts": texts,
    "ip_address": text,
    "last_modified": number,
    "my_address": text,
    "origin": text,
    "other_addresses": _hosts,
    "result": flag,
    "routing_key": text,
    "seconds": number,
    "there": flag,
    "verdict": _verdict,
}


def _of(kind: type[Any], *, or_a_dictionary: bool = False) -> Callable[[object], object]:
    """Return what reads a payload of a class, a named tuple, and perhaps a dictionary."""

    def read(payload: object) -> object:
        given = type(payload)
        if issubclass(given, kind):
            values = {each.name: getattr(payload, each.name) for each in fields(kind)}
        elif issubclass(given, tuple) and (names := getattr(given, "_fields", ())):
            values = dict(zip(names, tuple(payload), strict=True))  # type: ignore[arg-type]
        elif or_a_dictionary and issubclass(given, Mapping):
            values = dict(payload)  # type: ignore[call-overload]
        else:
            raise PayloadProblemError(
                f"its payload is {kind_of(payload)}; it has to be a {kind.__name__}"
            )
        return _made(kind, values)

    return read


def _made(kind: type[Any], values: Values) -> object:
    # Which source or chart has a fault; the other kinds of payload say nothing of it.
    source = f" of {text(values['dispatcher'])!r}" if "dispatcher" in values else ""
    made = {}
    for each in fields(kind):
        if each.name in values:
            try:
                made[each.name] = _READ[each.name](values[each.name])
            except PayloadProblemError as wanted:
                is_now = f"{each.name}{source} is {kind_of(values[each.name])}"
                raise PayloadProblemError(f"{is_now}; it has to be {wanted}") from None
        elif each.default is MISSING:
            raise PayloadProblemError(f"its payload has no {each.name}")
    return kind(**made)


def _request(payload: object) -> object:
    # As the ancestor's documents publish it, for every node.
    return None if payload is None else _of(signals.RequestPayload)(payload)


def _read_request(payload: object) -> object:
    if payload is None:
        return signals.CacheFileReadPayload()
    if issubclass(type(payload), str | PathLike):
        return signals.CacheFileReadPayload(text(fspath(payload)))  # type: ignore[call-overload]
    return _of(signals.CacheFileReadPayload, or_a_dictionary=True)(payload)


def _write_request(payload: object) -> object:
    named = _of(signals.CacheWritePayload, or_a_dictionary=True)
    if not issubclass(type(payload), Mapping):
        return named(payload)
    values = dict(payload)  # type: ignore[call-overload]
    about_files = issubclass(type(values.get("dict")), Mapping)
    if about_files and set(values) <= {"dict", "file_name", "origin"}:
        return named(values)
    # As the ancestor's documents publish it: the dictionary is the content.
    return _made(signals.CacheWritePayload, {"dict": values})


_FORMS: Final[Mapping[str, Reader]] = {
    signals.CONNECTION_DISCOVERY: _of(signals.ConnectionDiscoveryPayload),
    signals.CACHE: _of(signals.CacheReadPayload),
    signals.CACHE_FILE_READ: _read_request,
    signals.CACHE_FILE_WRITE: _write_request,
    signals.AMQP_CONSUMER_CHECK: _of(signals.AMQPConsumerCheckPayload),
    signals.EVALUATE_HOSTS_FILE: _request,
    signals.RECCE_LAN: _request,
    signals.LAN_RECCE_COMPLETE: _of(signals.RecceCompletePayload),
    signals.REFACTOR_SEARCH: _of(signals.RefactorSearchPayload, or_a_dictionary=True),
}

FORMS: Final[Mapping[str, Reader]] = MappingProxyType(
    {name: partial(understood, name) for name in _FORMS}
)
"""What reads the payload of each public signal: the `READS` of a chart that hears some of them."""
