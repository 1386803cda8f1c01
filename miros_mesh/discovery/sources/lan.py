"""`LanChart`: finds the brokers of the local network, in the cache or by a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery.chart import ENTRY, DiscoveryChart, on
from miros_mesh.discovery.ports import AddressScanner
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout_batch import SendScout
from miros_mesh.discovery.settings import LAN_CACHE_FILE
from miros_mesh.discovery.signals import (
    CACHE,
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CONNECTION_DISCOVERY,
    LAN_RECCE_COMPLETE,
    RECCE_LAN,
    CacheFileReadPayload,
    CacheReadPayload,
    CacheWritePayload,
    RequestPayload,
)
from miros_mesh.discovery.sources.cache_file import CacheFileChart
from miros_mesh.discovery.sources.lan_recce import LanRecceChart
from miros_mesh.discovery.threads import between

NAME: Final = "lan_chart"
TIME_OUT_IN_MINUTES: Final = 30.0
DEFAULT_JSON: Final = '{"searches": {}}'
# One for each mesh of this user's programs, which share the file.
SEARCHES_KEPT: Final = 50
# In seconds of `time.time`: some 30,000 years.
LATEST: Final = 1e12
# A broker of the cache that is alive is connected by then.
DOUBT_AFTER_S: Final = (5.0, 7.5)


class LanChart(DiscoveryChart):
    """Publishes the brokers of the local network, and finds them again when the cache is old."""

    NEST = (
        ("read_or_discover_network_details", None),
        ("discover_network", "read_or_discover_network_details"),
    )
    HEARS = (CACHE, LAN_RECCE_COMPLETE)
    READS = FORMS
    PUBLISHES = (CACHE_FILE_READ, CACHE_FILE_WRITE, RECCE_LAN, CONNECTION_DISCOVERY)

    def __init__(
        self,
        routing_key: str,
        exchange_name: str,
        *,
        send_scout: SendScout,
        time_out_in_minutes: float = TIME_OUT_IN_MINUTES,
        cache_file_path: Path | str = LAN_CACHE_FILE,
        scanner: AddressScanner | None = None,
        scope: str = "",
        port: int = DEFAULT_PORTS["amqp"],
        is_connected: Callable[[Endpoint], bool] = lambda _: True,
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self.routing_key = routing_key
        self.exchange_name = exchange_name
        self.time_out_in_minutes = time_out_in_minutes
        self.addresses: tuple[str, ...] = ()
        self._scope = scope or f"{exchange_name}:{port}"
        self._port = port
        self._send_scout = send_scout
        self._scanner = scanner
        self._leaves_scanner = False
        self._cache_file_path = str(cache_file_path)
        self._cache: CacheFileChart | None = None
        self._recce: LanRecceChart | None = None
        self._is_connected = is_connected
        # By `time.time`, as in the file, which other processes read. `_asked_at` is monotonic.
        self._found_at = 0.0
        # When the entry of the cache was found that proved wrong; a newer one is believed.
        self._doubted = 0.0
        self._asked_at = 0.0
        self.begin()

    @on("read_or_discover_network_details", ENTRY)
    def read_or_discover_network_details_entry(self, _: Event) -> None:
        # Both hear their signals from here on; asked before that, they would not answer.
        self._cache = CacheFileChart(
            self._cache_file_path,
            default_json=DEFAULT_JSON,
            ours=is_cache,
            tidy=newest,
            **self.common,
        )
        self._recce = LanRecceChart(
            self.routing_key,
            self.exchange_name,
            send_scout=self._send_scout,
            scanner=self._scanner,
            port=self._port,
            **self.common,
        )
        self._read_cache()

    @on("read_or_discover_network_details", CACHE, to="discover_network")
    def cache_heard(self, event: Event) -> str | None:
        # Every JSON file of the node is published as `CACHE`, those of hosts too. A program may
        # publish one with another content.
        cache: CacheReadPayload = event.payload
        if cache.file_name != self._cache_file_path or not is_cache(cache.dict):
            return None
        young = self._young(cache)
        self.observer.cache_read(hit=young is not None)
        if young is None:
            return "discover_network"
        self.addresses, self._found_at = young
        seconds = time.monotonic() - self._asked_at
        self.observer.searched(source="cache", found=len(self.addresses), seconds=seconds)
        self.post_fifo(Event(signal="connections_discovered"))
        if self.addresses:
            # The cache is believed without a probe; whether it was right shows in the connections.
            self.later("cache_doubted", between(*DOUBT_AFTER_S))
        return None

    @on("read_or_discover_network_details", "connections_discovered")
    def connections_discovered(self, _: Event) -> None:
        # A young cache is a search too: what it names is used as if it had just been found.
        self.publish_brokers(self.addresses, port=self._port, ends_search=True)
        self.later("cache_outdated", self._until_outdated_s())

    @on("read_or_discover_network_details", "cache_outdated")
    def cache_outdated(self, _: Event) -> None:
        # The cache first: another process may have searched meanwhile.
        self._read_cache()

    @on("read_or_discover_network_details", "cache_doubted")
    def cache_doubted(self, _: Event) -> None:
        # The node is connected to no broker of the cache: that entry is not used a second time.
        if not any(self._is_connected(Endpoint.parse(e, self._port)) for e in self.addresses):
            self._doubted = self._found_at
            self._read_cache()

    @on("discover_network", ENTRY)
    def discover_network_entry(self, _: Event) -> None:
        self.publish(Event(signal=RECCE_LAN, payload=RequestPayload(self.origin)))

    @on("discover_network", LAN_RECCE_COMPLETE)
    def lan_recce_complete(self, event: Event) -> None:
        self.addresses = tuple(event.payload.other_addresses)
        self._found_at = time.time()
        self.post_fifo(Event(signal="connections_discovered"))
        # Also when nothing was found: another process need not search for it again at once.
        search = {
            "addresses": list(self.addresses),
            "found_at": self._found_at,
            "time_out_in_minutes": self.time_out_in_minutes,
        }
        payload = CacheWritePayload(
            {"searches": {self._scope: search}}, self._cache_file_path, self.origin
        )
        self.publish(Event(signal=CACHE_FILE_WRITE, payload=payload))

    def leave_scanner(self) -> None:
        """Leave the scanner to another chart at the stop; a stopped one finds nothing any more."""
        self._leaves_scanner = True

    def stop_children(self) -> None:
        # The next life of this chart needs it, if it was given one.
        if self._recce and (self._leaves_scanner or (self._scanner and not self.ended)):
            self._recce.leave_scanner()
        for child in (self._recce, self._cache):
            if child:
                child.stop()

    def _read_cache(self) -> None:
        self._asked_at = time.monotonic()
        payload = CacheFileReadPayload(self._cache_file_path, self.origin)
        self.publish(Event(signal=CACHE_FILE_READ, payload=payload))

    def _young(self, cache: CacheReadPayload) -> tuple[tuple[str, ...], float] | None:
        """Return our mesh's addresses in the cache and when they were found, if young enough."""
        search = cache.dict.get("searches", {}).get(self._scope)
        if not search:
            return None
        age_s = time.time() - search["found_at"]
        # A moment in the future is that of a clock that was set back, or of a wrong file.
        if search["found_at"] == self._doubted or not 0 <= age_s < self._lifetime_s(
            search["addresses"]
        ):
            return None
        return tuple(search["addresses"]), search["found_at"]

    def _lifetime_s(self, addresses: Collection[str]) -> float:
        """Return a tenth of the time for a search without result: the network may not be up yet."""
        lifetime_s = self.time_out_in_minutes * 60
        return lifetime_s if addresses else lifetime_s / 10

    def _until_outdated_s(self) -> float:
        """Return a random time, so that one process searches and the others use its result."""
        # All processes of a host read the same file: they would all search at one moment.
        left = self._found_at + self._lifetime_s(self.addresses) - time.time()
        return max(left, 1.0) * between(1.0, 1.1)


def is_cache(data: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is what this chart writes; a file with another is not used."""
    searches = data.get("searches")
    return isinstance(searches, dict) and all(_is_search(each) for each in searches.values())


def newest(data: dict[str, Any]) -> dict[str, Any]:
    """Return the cache without the oldest searches, `SEARCHES_KEPT` at most."""
    searches: dict[str, Any] = data["searches"]
    order = sorted(searches, key=lambda scope: searches[scope]["found_at"], reverse=True)
    return {**data, "searches": {scope: searches[scope] for scope in order[:SEARCHES_KEPT]}}


def _is_search(search: Any) -> bool:
    if not isinstance(search, dict):
        return False
    found_at = search.get("found_at")
    # NaN is in no range, and a longer whole number than a float can hold is in no sum with one.
    if not isinstance(found_at, int | float) or not abs(found_at) < LATEST:
        return False
    addresses = search.get("addresses")
    return isinstance(addresses, list) and all(_is_host(each) for each in addresses)


def _is_host(text: Any) -> bool:
    try:
        Endpoint.parse(text, DEFAULT_PORTS["amqp"])
    except ValueError:
        return False
    return True
