"""`Resolver`: the hosts of a `CONNECTION_DISCOVERY` with their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from miros_mesh.address import Endpoint
from miros_mesh.discovery.addresses import own_addresses, with_own
from miros_mesh.discovery.ports import NameService
from miros_mesh.discovery.signals import ConnectionDiscoveryPayload
from miros_mesh.discovery.sources.name_service import LOOKUP_TIMEOUT_S
from miros_mesh.errors import AddressError
from miros_mesh.text import logger_of
from miros_mesh.timing.lookups import Lookups

logger = logger_of(__name__)


@dataclass(frozen=True)
class Resolved:
    """A `CONNECTION_DISCOVERY` with every address of its hosts and of home."""

    hosts: Mapping[Endpoint, frozenset[str]]
    dead: tuple[Endpoint, ...]
    home: Mapping[Endpoint, frozenset[str]]


class Resolver:
    """Looks up the names of discovered brokers, on any thread that may wait.

    By its addresses one broker is recognised under several names.
    """

    def __init__(
        self, names: NameService, lookups: Lookups, port: int, home: tuple[Endpoint, ...]
    ) -> None:
        self._names = names
        self._lookups = lookups
        self._port = port
        self._home = home

    def resolve(self, discovery: ConnectionDiscoveryPayload) -> Resolved:
        """Look every name up, for some seconds at most; an entry that is no host is logged."""
        own = own_addresses()
        found, home = tuple(self._parsed(discovery, "hosts")), self._home
        # Home each time too: its name may stand for another address by now.
        addresses = self._addresses_of((*found, *home))
        return Resolved(
            hosts={endpoint: addresses[endpoint] for endpoint in found},
            # Not looked up: they are known by the name under which they were found, and a dead name
            # could cost the whole wait.
            dead=tuple(self._parsed(discovery, "dead")),
            home={endpoint: with_own(addresses[endpoint], own) for endpoint in home},
        )

    def _parsed(
        self, discovery: ConnectionDiscoveryPayload, told: Literal["hosts", "dead"]
    ) -> Iterable[Endpoint]:
        for number, host in enumerate(getattr(discovery, told), 1):
            try:
                yield Endpoint.parse(host, self._port)
            except AddressError as error:
                # Not quoted: what stands there may be a URL with a password.
                logger.warning(
                    "entry %d of %s from %r is ignored: %s",
                    number,
                    told,
                    discovery.dispatcher,
                    error,
                )

    def _addresses_of(self, endpoints: Iterable[Endpoint]) -> dict[Endpoint, frozenset[str]]:
        """Return each host with its addresses; a name whose look-up fails stands for itself."""
        known = {endpoint: frozenset({endpoint.host}) for endpoint in endpoints}
        names = {str(endpoint): endpoint for endpoint in known if not endpoint.ip}
        # Side by side within one limit: a dead name server costs it once, not for each name.
        calls = {name: partial(self._names.endpoints, name, names[name].port) for name in names}
        for name, found in self._lookups.results(calls, LOOKUP_TIMEOUT_S).items():
            if not isinstance(found, Exception):
                known[names[name]] |= {each.host for each in found}
            # By an `OSError`, such as a time-out, a name service says that it does not know now.
            elif not isinstance(found, OSError):
                logger.error("the look-up of %s failed", name, exc_info=found)
        return known
