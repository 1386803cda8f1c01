"""`LanRecceChart`: scans the local network and scouts every address that answers."""

from __future__ import annotations

import time
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS
from miros_mesh.discovery.addresses import own_addresses, working_address
from miros_mesh.discovery.chart import ENTRY, EXIT, INIT, DiscoveryChart, on
from miros_mesh.discovery.ports import AddressScanner
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout_batch import ScoutBatch, SendScout
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    LAN_RECCE_COMPLETE,
    RECCE_LAN,
    RecceCompletePayload,
)
from miros_mesh.discovery.sources.candidates import lan_candidates
from miros_mesh.discovery.sources.tcp_scanner import TcpScanner
from miros_mesh.discovery.threads import Job
from miros_mesh.text import logger_of

logger = logger_of(__name__)

NAME: Final = "lan_recce_chart"
# Twice what 1,024 addresses take, the largest scan.
ARP_TIME_S: Final = 10.0


class LanRecceChart(DiscoveryChart):
    """Answers `RECCE_LAN` with `LAN_RECCE_COMPLETE`; one search at a time."""

    NEST = (
        ("private_search", None),
        ("lan_recce", "private_search"),
        ("fill_arp_table", "lan_recce"),
        ("identify_all_ip_addresses", "lan_recce"),
        ("recce_rabbit_consumers", "lan_recce"),
    )
    HEARS = (RECCE_LAN, AMQP_CONSUMER_CHECK)
    READS = FORMS
    PUBLISHES = (LAN_RECCE_COMPLETE,)

    def __init__(
        self,
        routing_key: str,
        exchange_name: str,
        *,
        send_scout: SendScout,
        scanner: AddressScanner | None = None,
        arp_time_sec: float = ARP_TIME_S,
        port: int = DEFAULT_PORTS["amqp"],
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self.routing_key = routing_key
        self.exchange_name = exchange_name
        # Of this host's networks, unless MIROS_MESH_LAN forbids it; asked for at each scan.
        self._scanner = scanner or TcpScanner(port, lan_candidates)
        self._leaves_scanner = False
        self._arp_time_s = arp_time_sec
        self._batch = ScoutBatch(send_scout, "lan")
        # The number of the present search, which tells a late result of an earlier scan.
        self._search = 0
        self._searching = False
        self._scan: Job | None = None
        self._began_at = 0.0
        self._answered: tuple[str, ...] = ()
        self.my_address = ""
        self.begin()

    @on("private_search", ENTRY)
    def private_search_entry(self, _: Event) -> None:
        # Once: a transition from an inner state to the one around it does not enter that again.
        self.my_address = working_address()

    @on("private_search", RECCE_LAN)
    def private_search_recce_lan(self, _: Event) -> None:
        self.post_fifo(Event(signal="recce_lan"))

    @on("private_search", "recce_lan", to="lan_recce")
    def recce_lan(self, _: Event) -> str:
        return "lan_recce"

    @on("lan_recce", INIT, to="fill_arp_table")
    def lan_recce_init(self, _: Event) -> str:
        return "fill_arp_table"

    @on("lan_recce", RECCE_LAN)
    def lan_recce_recce_lan(self, event: Event) -> None:
        # Requests during a search are answered by one search after it; more would find the same.
        if not self.defer_queue:
            self.defer(event)

    @on("lan_recce", "recce_lan")
    @on("lan_recce", "arp_time_out")
    def lan_recce_too_late(self, _: Event) -> None:
        """Ignore the late end of a scan, and a request that came before this search began."""

    @on("lan_recce", EXIT)
    def lan_recce_exit(self, _: Event) -> None:
        # For the next search. None of its scouts is out by now.
        self._batch.stop()
        # A request that came during the search; the mailbox gets it again.
        self.recall()

    @on("fill_arp_table", ENTRY)
    def fill_arp_table_entry(self, _: Event) -> None:
        # Connecting to an address fills the kernel's table of neighbours, as a ping would.
        self._search += 1
        self._searching = True
        self._began_at = time.monotonic()
        self._answered = ()
        # Taken for the thread of the pool: the field may be another search's by then.
        search = self._search
        self._scan = self.threads.network.run(
            self._scanner.scan, lambda found: self.tell("arp_time_out", (search, found))
        )
        # Under the same signal as the result: whichever comes first ends the wait, the other one
        # finds the state left or the number changed.
        self.later("arp_time_out", self._arp_time_s, (search, None))

    @on("fill_arp_table", "arp_time_out", to="identify_all_ip_addresses")
    def arp_time_out(self, event: Event) -> str | None:
        search, found = event.payload
        if search != self._search:
            return None
        # Nothing found yet; the scan may have waited for a thread.
        left_s = self._scan.left_s(self._arp_time_s) if found is None and self._scan else 0.0
        if left_s > 0:
            self.later("arp_time_out", left_s, (search, None))
            return None
        if isinstance(found, Exception):
            logger.error("the search of the local network failed", exc_info=found)
            found = ()
        self._answered = tuple(found or ())
        return "identify_all_ip_addresses"

    @on("fill_arp_table", EXIT)
    def fill_arp_table_exit(self, _: Event) -> None:
        self.cancel("arp_time_out")

    @on("identify_all_ip_addresses", ENTRY)
    def identify_all_ip_addresses_entry(self, _: Event) -> None:
        # Asked again here: this host may have got an address during the scan.
        own = own_addresses()
        self._answered = tuple(each for each in self._answered if each not in own)
        self.post_fifo(Event(signal="ip_addresses_found"))

    @on("identify_all_ip_addresses", "ip_addresses_found", to="recce_rabbit_consumers")
    def ip_addresses_found(self, _: Event) -> str:
        return "recce_rabbit_consumers"

    @on("recce_rabbit_consumers", ENTRY)
    def recce_rabbit_consumers_entry(self, _: Event) -> None:
        self._batch.begin(self._answered)
        self._complete_if_all_are_back()

    @on("recce_rabbit_consumers", AMQP_CONSUMER_CHECK)
    def amqp_consumer_check(self, event: Event) -> None:
        if self._batch.heard(event.payload):
            self._complete_if_all_are_back()

    @on("recce_rabbit_consumers", "lan_recce_complete", to="private_search")
    def lan_recce_complete(self, _: Event) -> str:
        return "private_search"

    def stop(self) -> None:
        # First, since a scan takes seconds and a thread of the pool waits for it.
        if not self._leaves_scanner:
            self._scanner.stop()
        super().stop()

    def leave_scanner(self) -> None:
        """Leave the scanner to another chart at the stop; a stopped one finds nothing any more."""
        self._leaves_scanner = True

    def stop_children(self) -> None:
        self._batch.stop()

    def renew(self) -> None:
        # The search that was under way has no end: once more, for who waits for it.
        if self._searching:
            self.post_fifo(Event(signal="recce_lan"))

    def _complete_if_all_are_back(self) -> None:
        if not self._batch.complete:
            return
        found = self._batch.live
        seconds = time.monotonic() - self._began_at
        self.observer.searched(source="lan", found=len(found), seconds=seconds)
        payload = RecceCompletePayload(found, self.my_address, self.origin)
        self.publish(Event(signal=LAN_RECCE_COMPLETE, payload=payload))
        self._searching = False
        # After the result was published: the batch is emptied on the way out.
        self.post_fifo(Event(signal="lan_recce_complete"))
