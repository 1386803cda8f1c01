"""The snoop lines of miros-rabbitmq, shown among the records of this library, and ours there."""

from __future__ import annotations

from collections.abc import Sequence

from miros_mesh.networks.network import Network
from miros_mesh.networks.snoop.records import SnoopNetwork
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.identity import Identity


class AncestorLines(SnoopNetwork):
    """One snoop network of theirs; its watchers are those of ours, `shown_by`."""

    def __init__(
        self,
        network: Network[SnoopRecord],
        identity: Identity,
        observer: Observer,
        shown_by: SnoopNetwork,
    ) -> None:
        super().__init__(network, identity, shown_by.routing_key, observer)
        self._shown_by = shown_by

    @property
    def watched(self) -> bool:
        """Whether there is a watcher."""
        return self._shown_by.watched

    def show(self, messages: Sequence[SnoopRecord]) -> None:
        """Show their records to all who watch ours."""
        self._shown_by.show(messages)
