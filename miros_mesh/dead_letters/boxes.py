"""Which broker a letter goes back to, and the boxes of these brokers during one walk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import AddressError, LinkError
from miros_mesh.link.ports import Broker, LetterBox, Link
from miros_mesh.node.search.link_probe import broker_at
from miros_mesh.wire.envelope import MAX_DETAIL


class Boxes:
    """Opens a box at each broker when it is first needed, and closes all of them at the end.

    A broker that cannot be reached is asked once: with a thousand letters for it, one waits once.
    """

    def __init__(self, config: MeshConfig, home: Broker, link: Link) -> None:
        self._config = config
        self._home = home
        self._link = link
        self._visits = ExitStack()
        self._opened: dict[Broker, LetterBox] = {}
        self._away: dict[Broker, LinkError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._visits.close()

    @contextmanager
    def at(self, peer: str) -> Iterator[LetterBox]:
        """Lend the box of the broker that has this address; raises what `broker_of` raises."""
        broker = broker_of(peer, self._home, self._config)
        if error := self._away.get(broker):
            raise error
        try:
            if broker not in self._opened:
                self._opened[broker] = self._visits.enter_context(self._link.letter_box(broker))
            yield self._opened[broker]
        except LinkError as error:
            # A refusal of one letter says nothing about the next one.
            if error.retryable or broker not in self._opened:
                self._away[broker] = error
            raise


def broker_of(peer: str, home: Broker, config: MeshConfig) -> Broker:
    """Return the broker with the address `peer`, with the credentials and the TLS of the settings.

    Raises `AddressError` for one that the settings do not lead to.
    """
    # Cut as letters cut it.
    if peer in ("", home.name[:MAX_DETAIL]):
        return home
    if not config.brokers:
        raise _elsewhere(peer, home)
    address = _at(peer, config.brokers[0], home)
    if any(_place(known) == _place(address) for known in config.brokers):
        # Another member of the cluster, or another user.
        return home
    return broker_at(Endpoint(address.host, address.port), address)


def _at(peer: str, like: BrokerAddress, home: Broker) -> BrokerAddress:
    """Return the address of a name without password, with credentials and scheme of another one.

    Not with its scheme: no password goes unencrypted to where it is encrypted now.
    """
    scheme, _, rest = peer.partition("://")
    # One without a user has a certificate for it.
    where = rest.rpartition("@")[2]
    try:
        named = BrokerAddress.parse(f"{scheme}://{where}")
    except AddressError:
        raise _elsewhere(peer, home) from None
    return replace(like, host=named.host, port=named.port, virtual_host=named.virtual_host)


def _place(address: BrokerAddress) -> tuple[str, str, int, str]:
    return address.scheme, address.host, address.port, address.virtual_host


def _elsewhere(peer: str, home: Broker) -> AddressError:
    return AddressError(
        f"it was refused by {peer}, and these settings lead to {home.name}; give those of the node "
        "that sent it"
    )
