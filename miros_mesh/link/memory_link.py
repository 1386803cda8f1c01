"""The link between nodes of one process; only tests of applications need it."""

from __future__ import annotations

import kombu

from miros_mesh.address import BrokerAddress
from miros_mesh.embedded.memory import MemoryStore, MemoryTransport
from miros_mesh.link.kombu_link import KombuLink
from miros_mesh.link.ports import LinkSettings


def memory_link(settings: LinkSettings, store: MemoryStore) -> KombuLink:
    """Make a link between the nodes that share `store`."""

    def dial(_: BrokerAddress | None) -> kombu.Connection:
        return kombu.Connection(transport=MemoryTransport, transport_options={"store": store})

    return KombuLink(settings, dial)
