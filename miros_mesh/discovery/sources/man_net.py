"""`ManNetChart`: the hosts that are listed in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery.chart import ENTRY, DiscoveryChart, on
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout_batch import ScoutBatch, SendScout
from miros_mesh.discovery.settings import HOSTS_FILES, LOOK_AGAIN_S
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    CACHE,
    CACHE_FILE_READ,
    CONNECTION_DISCOVERY,
    EVALUATE_HOSTS_FILE,
    CacheFileReadPayload,
)
from miros_mesh.discovery.sources import answers
from miros_mesh.discovery.sources.cache_file import CacheFileChart
from miros_mesh.discovery.threads import about
from miros_mesh.errors import AddressError
from miros_mesh.text import logger_of

logger = logger_of(__name__)

NAME: Final = "man_net_chart"
DEFAULT_JSON: Final = '{"hosts": []}'
NO_LIST: Final = 'there is no list under "hosts"'
# As many as are ever kept as peers.
MOST_HOSTS: Final = 1024


class ManNetChart(DiscoveryChart):
    """Scouts the hosts of the hosts files, publishes the live ones, and looks again by itself."""

    NEST = (
        ("read_and_evaluate_network_details", None),
        ("evaluate_network", "read_and_evaluate_network_details"),
    )
    HEARS = (CACHE, AMQP_CONSUMER_CHECK, EVALUATE_HOSTS_FILE)
    READS = FORMS
    PUBLISHES = (CACHE_FILE_READ, CONNECTION_DISCOVERY)

    def __init__(
        self,
        routing_key: str,
        exchange_name: str,
        *,
        send_scout: SendScout,
        cache_file_path: Path | str | Sequence[Path | str] = HOSTS_FILES,
        look_again_s: tuple[float, float] = LOOK_AGAIN_S,
        port: int = DEFAULT_PORTS["amqp"],
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self.routing_key = routing_key
        self.exchange_name = exchange_name
        paths = (cache_file_path,) if isinstance(cache_file_path, Path | str) else cache_file_path
        # The hosts of each file; None while it is read.
        self._hosts_of: dict[str, tuple[str, ...] | None] = {str(path): None for path in paths}
        # Whether each of the files exists, for one line in the log where none does.
        self._there: dict[str, bool] = {}
        self._no_file_said = False
        self._files: list[CacheFileChart] = []
        self._batch = ScoutBatch(send_scout, "manual")
        self._port = port
        self._soon_s, self._seldom_s = look_again_s
        self._pause_s = self._soon_s
        # A change of these is what makes the chart look again soon.
        self._dead_before: tuple[str, ...] = ()
        self._began_at = 0.0
        # Each fault of the files is logged once, and not at every look.
        self._named_wrong: set[str] = set()
        # What all files list, each host once, in order.
        self.hosts: tuple[str, ...] = ()
        self.begin()

    @property
    def live_hosts(self) -> tuple[str, ...]:
        """The listed hosts that answered as ours in the present evaluation."""
        return self._batch.live

    @property
    def dead_hosts(self) -> tuple[str, ...]:
        """The listed hosts that did not answer as ours in it."""
        return self._batch.dead

    @on("read_and_evaluate_network_details", ENTRY)
    def read_and_evaluate_network_details_entry(self, _: Event) -> None:
        self._files = [
            CacheFileChart(
                path,
                default_json=DEFAULT_JSON,
                foreign=NO_LIST,
                only_by_name=True,
                **self.common,
            )
            for path in self._hosts_of
        ]
        self._read_hosts()

    @on("read_and_evaluate_network_details", CACHE, to="evaluate_network")
    def cache_heard(self, event: Event) -> str | None:
        name = event.payload.file_name
        if name not in self._hosts_of:
            return None
        content = event.payload.dict
        # The second in the ancestor's cache of the local network, beside URLs with a password.
        self._hosts_of[name] = self._listed(name, content.get("hosts", content.get("addresses")))
        self._there[name] = event.payload.there
        lists = list(self._hosts_of.values())
        # The last file to be read begins the evaluation, of all of them.
        if None in lists:
            return None
        self.hosts = tuple(dict.fromkeys(host for hosts in lists for host in hosts or ()))
        self.hosts = self.hosts[:MOST_HOSTS]
        self._say_whether_there_is_a_file()
        return "evaluate_network"

    @on("read_and_evaluate_network_details", EVALUATE_HOSTS_FILE)
    @on("read_and_evaluate_network_details", "evaluate_again")
    def evaluate_hosts_file(self, _: Event) -> None:
        # An evaluation under way ends first: begun anew at each request, it might never end.
        if None in self._hosts_of.values() or not self._batch.complete:
            self.later("evaluate_again", self._soon_s)
        else:
            self._read_hosts()

    @on("read_and_evaluate_network_details", answers.NETWORK_EVALUATED)
    def network_evaluated(self, _: Event) -> None:
        self.publish_brokers(self.live_hosts, self.dead_hosts, port=self._port, ends_search=True)
        seconds = time.monotonic() - self._began_at
        self.observer.searched(source="manual", found=len(self.live_hosts), seconds=seconds)
        self._look_again_later()

    @on("evaluate_network", ENTRY)
    def evaluate_network_entry(self, _: Event) -> None:
        self._began_at = time.monotonic()
        # Begun anew each time: a host that was ours may be dead by now, and the reverse.
        self._batch.begin(self.hosts)
        if self._batch.complete:
            self.post_fifo(Event(signal=answers.NETWORK_EVALUATED))

    @on("evaluate_network", AMQP_CONSUMER_CHECK)
    def amqp_consumer_check(self, event: Event) -> None:
        answers.take(self, self._batch, event.payload, port=self._port)

    def stop_children(self) -> None:
        self._batch.stop()
        for file in self._files:
            file.stop()

    def _read_hosts(self) -> None:
        self.cancel("evaluate_again")
        for name in self._hosts_of:
            self._hosts_of[name] = None
            payload = CacheFileReadPayload(name, self.origin)
            self.publish(Event(signal=CACHE_FILE_READ, payload=payload))

    def _listed(self, name: str, hosts: Any) -> tuple[str, ...]:
        if not isinstance(hosts, list):
            self._name_wrong(f"{name} is ignored", NO_LIST)
            return ()
        return hosts_in(hosts, self._port, partial(self._name_wrong_entry, name))

    def _name_wrong_entry(self, name: str, number: int, problem: str) -> None:
        self._name_wrong(f'entry {number} of "hosts" in {name} is left out', problem)

    def _name_wrong(self, where: str, problem: str) -> None:
        text = f"{where}: {problem}"
        if text not in self._named_wrong:
            self._named_wrong.add(text)
            logger.warning("%s", text)

    def _say_whether_there_is_a_file(self) -> None:
        missing = not any(self._there.values())
        if missing and not self._no_file_said:
            logger.info("no hosts file: looked for %s", ", ".join(self._hosts_of))
        self._no_file_said = missing

    def _look_again_later(self) -> None:
        """Look again soon after something changed, then at pauses that double up to the longest."""
        changed = self.dead_hosts != self._dead_before
        self._dead_before = self.dead_hosts
        # Doubled, since each look is a login at each listed host; varied by `about`, so that nodes
        # that were started together do not stay together.
        self._pause_s = self._soon_s if changed else min(self._pause_s * 2, self._seldom_s)
        self.later("evaluate_again", about(self._pause_s))


def hosts_in(
    listed: Sequence[Any], port: int, wrong: Callable[[int, str], object]
) -> tuple[str, ...]:
    """Return the hosts of a list that can be scouted, of `MOST_HOSTS` entries at most.

    `wrong` is called with the number of each other entry, from 1 on, and what is wrong with it.
    """
    hosts = []
    for number, host in enumerate(listed[:MOST_HOSTS], 1):
        try:
            Endpoint.parse(host, port)
        except AddressError as error:
            # The text may be a URL with a password, which the error does not quote.
            wrong(number, str(error))
        else:
            hosts.append(host.strip())
    return tuple(hosts)
