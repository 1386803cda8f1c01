"""`Credentials`: who a node is at its brokers, as the files of its settings say at this moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from miros_mesh.address import BrokerAddress
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ConfigError

Place = tuple[str, str, int, str]
"""What an address is without user and password."""
Entry = tuple[Place, int]
"""A place, and which of the addresses there: a place may be given with several users."""

_MOVED: Final = "broker_url names other brokers now, for which the program has to start anew"


class Credentials:
    """What a link asks before each attempt to connect, so that a new password needs no restart.

    Called on any of the threads that connect. Only user and password follow the file: a node stays
    at the brokers with which it has started. Brokers that discovery finds get those of the first.
    """

    def __init__(self, config: MeshConfig, changed: Callable[[], object]) -> None:
        """Begin with what the settings hold; `changed` is called when a file holds others."""
        self._config = config
        self._changed = changed
        given = _by_entry(config.brokers)
        self._entries = {broker: entry for entry, broker in given.items()}
        # Replaced and never changed: threads that read it at once get one or the other.
        self._latest = given

    def __call__(self, address: BrokerAddress) -> tuple[BrokerAddress, str]:
        """Return the address with the credentials of now, and why they may be old, if so."""
        file = self._config.credentials_file
        if file is None or file.once:
            return address, ""
        problem = self._refresh()
        latest = self._latest
        first = next(iter(latest.values()), address)
        own = latest.get(self._entries.get(address, (_place(address), 0)), first)
        return replace(address, user=own.user, password=own.password), problem

    def _refresh(self) -> str:
        try:
            now = _by_entry(self._config.brokers_now())
        except ConfigError as error:
            return "; ".join(error.problems)
        latest = self._latest
        kept = {entry: now.get(entry, broker) for entry, broker in latest.items()}
        if kept != latest:
            self._latest = kept
            self._changed()
        return "" if latest.keys() <= now.keys() else _MOVED


def _by_entry(brokers: Iterable[BrokerAddress]) -> dict[Entry, BrokerAddress]:
    seen: Counter[Place] = Counter()
    entries: dict[Entry, BrokerAddress] = {}
    for broker in brokers:
        place = _place(broker)
        entries[place, seen[place]] = broker
        seen[place] += 1
    return entries


def _place(address: BrokerAddress) -> Place:
    return address.scheme, address.host, address.port, address.virtual_host
