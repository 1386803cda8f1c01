"""`ScoutBatch`: scouts that are sent out together, and what they answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeAlias

from miros_mesh.discovery.signals import AMQPConsumerCheckPayload

# A scout is a chart with a thread; more at once would find nothing sooner, since as many probes run
# at a time.
SCOUTS_AT_ONCE = 16


class Scout(Protocol):
    """Looks at one host and answers with `AMQP_CONSUMER_CHECK`."""

    def dismiss(self) -> None:
        """Begin to stop the scout, without waiting."""


SendScout: TypeAlias = Callable[[str, str], Scout]
"""Makes a scout of a host for a source."""


class RecceNode(NamedTuple):
    """One candidate: waiting (neither searched nor with a scout), being scouted, or searched."""

    searched: bool
    result: bool
    scout: Scout | None


class ScoutBatch:
    """The candidates of one search; used on one chart's thread."""

    def __init__(self, send: SendScout, source: str) -> None:
        self._send = send
        self._source = source
        # Hosts without a scout yet, in order. One may have been answered meanwhile: see `heard`.
        self._waiting: deque[str] = deque()
        self.nodes: dict[str, RecceNode] = {}

    def begin(self, hosts: Iterable[str]) -> None:
        """Forget the last search and scout these hosts."""
        self.stop()
        self.add(hosts)

    def add(self, hosts: Iterable[str]) -> None:
        """Scout these hosts beside those of before."""
        for host in hosts:
            if host not in self.nodes:
                self.nodes[host] = RecceNode(searched=False, result=False, scout=None)
                self._waiting.append(host)
        self._send_more()

    def heard(self, check: AMQPConsumerCheckPayload) -> bool:
        """Take a scout's answer; False when it is not one that this search waits for."""
        # From any scout of the node: every source hears all answers, and another's is as good.
        node = self.nodes.get(check.ip_address)
        if node is None or node.searched:
            return False
        self.nodes[check.ip_address] = RecceNode(True, check.result, None)
        if node.scout:
            # Not stopped, which would wait for its thread; `DiscoveryThreads.stop` joins that.
            node.scout.dismiss()
        self._send_more()
        return True

    def forget(self, host: str) -> None:
        """Forget a host, so that it can be scouted again; keeps a search without an end small."""
        self.nodes.pop(host, None)

    @property
    def complete(self) -> bool:
        """Whether every candidate has been searched."""
        return all(node.searched for node in self.nodes.values())

    @property
    def live(self) -> tuple[str, ...]:
        """The hosts that are ours."""
        return tuple(host for host, node in self.nodes.items() if node.result)

    @property
    def dead(self) -> tuple[str, ...]:
        """The hosts that were searched and are not ours."""
        return tuple(h for h, node in self.nodes.items() if node.searched and not node.result)

    def stop(self) -> None:
        """Dismiss every scout and forget what was found."""
        for node in self.nodes.values():
            if node.scout:
                node.scout.dismiss()
        self.nodes = {}
        self._waiting.clear()

    def _send_more(self) -> None:
        # Called after each answer, so that the place of one scout goes to the next host.
        out = sum(1 for node in self.nodes.values() if node.scout)
        while self._waiting and out < SCOUTS_AT_ONCE:
            host = self._waiting.popleft()
            # It may have been answered by another source's scout, and even forgotten since, or
            # forgotten and added again, so that it waits twice.
            node = self.nodes.get(host)
            if node and not node.searched and node.scout is None:
                scout = self._send(host, self._source)
                self.nodes[host] = RecceNode(searched=False, result=False, scout=scout)
                out += 1
