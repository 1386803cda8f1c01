"""`DnsChart`: looks names up at intervals, such as that of a Kubernetes headless service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery.chart import ENTRY, DiscoveryChart, on
from miros_mesh.discovery.ports import NameService
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout_batch import ScoutBatch, SendScout
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    CONNECTION_DISCOVERY,
)
from miros_mesh.discovery.sources import answers
from miros_mesh.discovery.sources.name_service import LOOKUP_TIMEOUT_S
from miros_mesh.discovery.threads import about
from miros_mesh.text import logger_of

logger = logger_of(__name__)

NAME: Final = "dns_chart"
# A scout is a login of each node at each broker: of many nodes, too many for every look-up.
RECHECK_S: Final = 60.0
# A name server that is not ours decides how many there are.
MOST_HOSTS: Final = 1024


class DnsChart(DiscoveryChart):
    """Looks names up, scouts what they stand for, and publishes the brokers that are ours."""

    NEST = (
        ("watch_names", None),
        ("look_up_names", "watch_names"),
        ("scout_addresses", "watch_names"),
    )
    HEARS = (AMQP_CONSUMER_CHECK,)
    READS = FORMS
    PUBLISHES = (CONNECTION_DISCOVERY,)

    def __init__(
        self,
        routing_key: str,
        exchange_name: str,
        *,
        names: Sequence[str],
        send_scout: SendScout,
        name_service: NameService,
        interval_s: float,
        port: int = DEFAULT_PORTS["amqp"],
        recheck_s: float = RECHECK_S,
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self.routing_key = routing_key
        self.exchange_name = exchange_name
        self._names = tuple(names)
        self._name_service = name_service
        self._batch = ScoutBatch(send_scout, "dns")
        self._port = port
        self._interval_s = interval_s
        self._recheck_s = recheck_s
        # When each host was found to be ours; within `recheck_s` it is not scouted again.
        self._ours_at: dict[str, float] = {}
        # The hosts of each name in the present round; None while its look-up runs.
        self._answers: dict[str, tuple[str, ...] | None] = {}
        # The hosts of the last round, whether ours or not.
        self._known: tuple[str, ...] = ()
        # Hosts of earlier answers that are in none now: they are told as dead.
        self._vanished: tuple[str, ...] = ()
        # Names whose failure has been logged.
        self._silent: set[str] = set()
        self._began_at = 0.0
        self.begin()

    @on("watch_names", ENTRY)
    def watch_names_entry(self, _: Event) -> None:
        # Once, at the start: the way back from an inner state does not enter this one again.
        self.post_fifo(Event(signal="look_up"))

    @on("watch_names", "look_up", to="look_up_names")
    def look_up(self, _: Event) -> str:
        return "look_up_names"

    @on("look_up_names", ENTRY)
    def look_up_names_entry(self, _: Event) -> None:
        self._began_at = time.monotonic()
        self._answers = dict.fromkeys(self._names)
        # Each by itself: `name_resolved` comes once for each of them, found or failed, within the
        # limit of a look-up.
        for name in self._names:
            self._ask(name)
        if not self._names:
            self.post_fifo(Event(signal="names_resolved"))

    @on("look_up_names", "name_resolved")
    def name_resolved(self, event: Event) -> None:
        name, found = event.payload
        self._answers[name] = self._hosts_of(name, found)
        if None not in self._answers.values():
            self.post_fifo(Event(signal="names_resolved"))

    @on("look_up_names", "names_resolved", to="scout_addresses")
    def names_resolved(self, _: Event) -> str:
        return "scout_addresses"

    @on("scout_addresses", ENTRY)
    def scout_addresses_entry(self, _: Event) -> None:
        hosts = dict.fromkeys(host for each in self._answers.values() for host in each or ())
        # A name whose look-up failed has no hosts now: they count as vanished and dead, which a
        # connected broker survives.
        now = tuple(hosts)[:MOST_HOSTS]
        gone = (*self._vanished, *self._known)
        self._vanished = tuple(host for host in dict.fromkeys(gone) if host not in hosts)
        # The newest; the older ones have long been told as dead.
        self._vanished = self._vanished[-MOST_HOSTS:]
        self._known = now
        recent = time.monotonic() - self._recheck_s
        self._ours_at = {h: at for h, at in self._ours_at.items() if h in hosts and at > recent}
        # Those that were ours a moment ago are not asked to log in once more.
        self._batch.begin(host for host in now if host not in self._ours_at)
        if self._batch.complete:
            self.post_fifo(Event(signal=answers.NETWORK_EVALUATED))

    @on("scout_addresses", AMQP_CONSUMER_CHECK)
    def amqp_consumer_check(self, event: Event) -> None:
        answers.take(self, self._batch, event.payload, port=self._port)

    @on("scout_addresses", answers.NETWORK_EVALUATED, to="watch_names")
    def network_evaluated(self, _: Event) -> str:
        self._ours_at |= dict.fromkeys(self._batch.live, time.monotonic())
        # Also those not scouted in this round, or they would be told neither live nor dead.
        live = tuple(self._ours_at)
        dead = *self._batch.dead, *self._vanished
        self.publish_brokers(live, dead, port=self._port, ends_search=True)
        seconds = time.monotonic() - self._began_at
        self.observer.searched(source="dns", found=len(live), seconds=seconds)
        self.later("look_up", about(self._interval_s))
        return "watch_names"

    def stop_children(self) -> None:
        self._batch.stop()

    def _ask(self, name: str) -> None:
        self.threads.network.run(
            lambda: self.threads.lookups.result(
                name, lambda: self._name_service.endpoints(name, self._port), LOOKUP_TIMEOUT_S
            ),
            lambda found: self.tell("name_resolved", (name, found)),
        )

    def _hosts_of(self, name: str, found: Sequence[Endpoint] | Exception) -> tuple[str, ...]:
        if not isinstance(found, Exception):
            self._silent.discard(name)
            return tuple(map(str, found))
        if name not in self._silent:
            self._silent.add(name)
            logger.warning("the look-up of %s failed; it is tried again: %s", name, found)
        return ()
