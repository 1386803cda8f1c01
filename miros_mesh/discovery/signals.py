"""The public signals of discovery and their payloads.

miros has one fabric in a process: each chart of each node hears what any of them publishes. So a
payload carries its `origin`, the token of its node, and a chart takes only those of its own node.
An event without a payload, published by a program, is for every node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from miros_mesh.discovery.verdict import Verdict

CONNECTION_DISCOVERY: Final = "CONNECTION_DISCOVERY"
CACHE: Final = "CACHE"
CACHE_FILE_READ: Final = "CACHE_FILE_READ"
CACHE_FILE_WRITE: Final = "CACHE_FILE_WRITE"
AMQP_CONSUMER_CHECK: Final = "AMQP_CONSUMER_CHECK"
EVALUATE_HOSTS_FILE: Final = "EVALUATE_HOSTS_FILE"
RECCE_LAN: Final = "RECCE_LAN"
LAN_RECCE_COMPLETE: Final = "LAN_RECCE_COMPLETE"
REFACTOR_SEARCH: Final = "REFACTOR_SEARCH"

PUBLIC: Final[Mapping[str, str]] = {
    CONNECTION_DISCOVERY: "brokers of our mesh were found, and which listed ones are dead",
    CACHE: "what is in a JSON file",
    CACHE_FILE_READ: "asks for `CACHE`",
    CACHE_FILE_WRITE: "asks to merge a dictionary into a JSON file",
    AMQP_CONSUMER_CHECK: "what a scout found at one address",
    EVALUATE_HOSTS_FILE: "asks to read the hosts files and scout their hosts again",
    RECCE_LAN: "asks for a search of the local network",
    LAN_RECCE_COMPLETE: "the addresses of the local network at which our mesh was found",
    REFACTOR_SEARCH: "gives a scout another address to look at",
}


# All are frozen: one event is handed to several charts, each on a thread of its own.
@dataclass(frozen=True)
class ConnectionDiscoveryPayload:
    """The brokers found. A host is `name`, `name:port`, an address, or `[fd00::1]:port`."""

    hosts: tuple[str, ...]
    # For programs, as the ancestor's payload; this library reads `hosts` alone.
    amqp_urls: tuple[str, ...]
    dispatcher: str
    dead: tuple[str, ...] = ()
    """Hosts that the dispatcher knows and that did not answer as ours."""
    # Empty in what a program publishes: then it is for every node. Not shown in a trace.
    origin: str = field(default="", repr=False)
    ends_search: bool = field(default=False, repr=False)
    """Whether the dispatcher has looked at all that it knows, and `hosts` are all that are ours."""


@dataclass(frozen=True)
class CacheReadPayload:
    """The content of a JSON file; its default when there is no file, or none that can be read."""

    dict: Mapping[str, Any]
    last_modified: float
    created_at: float
    expired: bool
    file_name: str
    there: bool = field(default=True, repr=False)
    """Whether the file exists, whatever is in it."""
    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class CacheFileReadPayload:
    """A request to read a file, answered with `CACHE`; without a name for every file."""

    file_name: str = ""
    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class CacheWritePayload:
    """A request to merge `dict` into a file: dictionaries key by key, anything else replaced.

    Without a name it is for every cache, and for no hosts file.
    """

    dict: Mapping[str, Any]
    file_name: str = ""
    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class AMQPConsumerCheckPayload:
    """What a scout found; `result` is whether the broker is ours."""

    ip_address: str
    result: bool
    routing_key: str
    exchange_name: str
    verdict: Verdict = Verdict.FAILED
    # Not shown, so that a trace reads nearly as the ancestor's did.
    seconds: float = field(default=0.0, repr=False)
    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class RefactorSearchPayload:
    """The next address for a scout to look at."""

    ip_address: str
    routing_key: str
    exchange_name: str
    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class RequestPayload:
    """The payload of `RECCE_LAN` and `EVALUATE_HOSTS_FILE` from a chart of the node."""

    origin: str = field(default="", repr=False)


@dataclass(frozen=True)
class RecceCompletePayload:
    """The result of a search of the local network."""

    other_addresses: tuple[str, ...]
    my_address: str
    origin: str = field(default="", repr=False)
