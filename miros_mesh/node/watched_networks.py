"""`WatchedNetworks`: the queues of the snoop networks, each while a chart or a monitor watches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from miros_mesh.errors import BrokerUnreachableError
from miros_mesh.link.ports import Delivery, QueueSpec, Subscriber
from miros_mesh.networks.network import Network


class Watchable(Protocol):
    """A network with watchers, who come and go by themselves."""

    @property
    def network(self) -> Network[Any]:
        """What opens its frames, and its name."""

    @property
    def watched(self) -> bool:
        """Whether there is a watcher."""

    def receiver(self) -> Callable[[Delivery], None]:
        """Return what takes the deliveries of a queue, from its declaration on."""


class WatchedNetworks:
    """Has a node consume a snoop network while the network has a watcher, and not longer.

    Called from any thread, after each change of a network's watchers. Each call looks at what is so
    at its time, so calls that overtake one another end in the state of the last change.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        queue_of: Callable[[str], QueueSpec],
        *,
        timeout_s: float,
        companions: Mapping[str, Watchable] = MappingProxyType({}),
    ) -> None:
        """Consume queues as `queue_of` describes them, by the names of their networks.

        With a network its companion is consumed, by the name of the network.
        """
        self._subscriber = subscriber
        self._queue_of = queue_of
        self._timeout_s = timeout_s
        self._companions = companions
        # Networks whose queue is asked for at this moment, and those whose queue is there.
        self._asked: set[str] = set()
        self._consumed: set[str] = set()
        # Guards the two above. A removal is posted under it, so that it stands in the subscriber's
        # line before the next queue of the network; nothing is waited for.
        self._changed = threading.Condition()

    def consume(self, watchable: Watchable) -> None:
        """Return when what comes on the network is shown, if it has a watcher.

        Raises the `LinkError` that prevents it. The next call tries again.
        """
        for each in self._with_companion(watchable):
            self._consume(each)

    def _consume(self, watchable: Watchable) -> None:
        name = watchable.network.name
        with self._changed:
            # A second caller is told, too, what becomes of the queue.
            if not self._changed.wait_for(lambda: name not in self._asked, self._timeout_s):
                raise BrokerUnreachableError(
                    f"the broker did not accept the queue of {name} within {self._timeout_s:g} s"
                )
            if name in self._consumed or not watchable.watched:
                return
            self._asked.add(name)
        try:
            queue = self._queue_of(name)
            self._subscriber.add(queue, watchable.receiver(), self._timeout_s)
        except BaseException:
            self._answered(name)
            raise
        self._answered(name, consumed=True)
        # The last watcher may have gone meanwhile, and `release` found no queue.
        self._release(watchable)

    def release(self, watchable: Watchable) -> None:
        """Let the queue go if no watcher is left; never waits."""
        for each in self._with_companion(watchable):
            self._release(each)

    def _with_companion(self, watchable: Watchable) -> tuple[Watchable, ...]:
        companion = self._companions.get(watchable.network.name)
        return (watchable, companion) if companion else (watchable,)

    def _release(self, watchable: Watchable) -> None:
        name = watchable.network.name
        with self._changed:
            if name in self._consumed and not watchable.watched:
                self._consumed.discard(name)
                self._subscriber.remove(self._queue_of(name).name)

    def _answered(self, name: str, *, consumed: bool = False) -> None:
        with self._changed:
            self._asked.discard(name)
            if consumed:
                self._consumed.add(name)
            self._changed.notify_all()
