"""The producers of the ancestor's `ProducerFactoryChart`: what is found, as items of a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from miros_mesh.address import Endpoint


class Producer(NamedTuple):
    """Where a message of one network goes. It connects to nothing."""

    endpoint: Endpoint
    routing_key: str
    exchange_name: str
    serialization_function: Callable[[Any], bytes] | None = None


class ProducerQueue(NamedTuple):
    """Every producer at this moment; a later item takes the place of all before it."""

    mesh_producers: tuple[Producer, ...]
    snoop_trace_producers: tuple[Producer, ...]
    snoop_spy_producers: tuple[Producer, ...]


class Queue(Protocol):
    """Takes the items, such as `queue.Queue`."""

    def put(self, item: ProducerQueue, /, block: bool = True) -> None:
        """Take an item, or raise when there is no room; it is put again later."""


class QueueSink:
    """A `PeerSink` that puts all producers into a queue whenever a broker is found or lost."""

    def __init__(
        self, queue: Queue, *, mesh: Producer, snoop_trace: Producer, snoop_spy: Producer
    ) -> None:
        self._queue = queue
        self._networks = (mesh, snoop_trace, snoop_spy)
        # One call at a time, as `PeerSink` promises.
        self._endpoints: tuple[Endpoint, ...] = ()

    def found(self, endpoint: Endpoint) -> None:
        """Add the producers of a broker. Raises `queue.Full` when it has no place."""
        self._tell((*self._endpoints, endpoint))

    def lost(self, endpoint: Endpoint) -> None:
        """Take out the producers of a broker. Raises `queue.Full` when it has no place."""
        self._tell(tuple(each for each in self._endpoints if each != endpoint))

    def _tell(self, endpoints: tuple[Endpoint, ...]) -> None:
        mesh, snoop_trace, snoop_spy = (
            tuple(network._replace(endpoint=each) for each in endpoints)
            for network in self._networks
        )
        # Without waiting: the chart tries again by itself.
        self._queue.put(ProducerQueue(mesh, snoop_trace, snoop_spy), block=False)
        # Only now, so that what the queue refused is not counted as told.
        self._endpoints = endpoints
