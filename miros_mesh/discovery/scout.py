"""`RabbitConsumerScoutChart`: finds out whether a broker of our mesh is at one address."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery.chart import ENTRY, INIT, DiscoveryChart, on
from miros_mesh.discovery.ports import BrokerProbe
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    REFACTOR_SEARCH,
    AMQPConsumerCheckPayload,
    RefactorSearchPayload,
)
from miros_mesh.discovery.threads import Job
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import AddressError
from miros_mesh.text import logger_of

logger = logger_of(__name__)

SCOUT_TIMEOUT_S: Final = 2.0

# A probe that does not keep to its time is waited for so much longer; then it counts as failed.
_GRACE_S = 3.0


@dataclass(frozen=True)
class Attempt:
    """One look at an address; a late answer has the number of an earlier one, and is dropped."""

    number: int
    endpoint: Endpoint | None
    began_at: float


@dataclass(frozen=True)
class Outcome:
    """The answer of the probe of the attempt with this number."""

    number: int
    verdict: Verdict


class RabbitConsumerScoutChart(DiscoveryChart):
    """Looks at one address and publishes `AMQP_CONSUMER_CHECK`; `REFACTOR_SEARCH` asks again.

    `exchange` is another name for `exchange_name`.
    """

    NEST = (
        ("search", None),
        ("producer_thread_engaged", "search"),
        ("producer_post_and_wait", "producer_thread_engaged"),
        ("amqp_consumer_server_found", "search"),
        ("no_amqp_consumer_server_found", "search"),
    )
    HEARS = (REFACTOR_SEARCH,)
    READS = FORMS
    PUBLISHES = (AMQP_CONSUMER_CHECK,)

    def __init__(
        self,
        ip_address: str,
        routing_key: str,
        exchange_name: str = "",
        *,
        probe: BrokerProbe,
        exchange: str = "",
        timeout_s: float = SCOUT_TIMEOUT_S,
        port: int = DEFAULT_PORTS["amqp"],
        refusals: RefusedBrokers | None = None,
        source: str = "scout",
        **common: Any,
    ) -> None:
        super().__init__(ip_address, **common)
        self.ip_address = ip_address
        self.routing_key = routing_key
        # `exchange` in the ancestor's documents, and `exchange_name` for every other chart.
        self.exchange_name = exchange_name or exchange
        self._probe = probe
        self._port = port
        self._refusals = RefusedBrokers() if refusals is None else refusals
        self._source = source
        self._timeout_s = timeout_s
        # These three belong to the chart's thread; what runs in the pool gets copies.
        self._attempt = Attempt(0, None, 0.0)
        self._verdict = Verdict.FAILED
        self._job: Job | None = None
        self.begin()

    @on("search", INIT, to="producer_thread_engaged")
    def search_init(self, _: Event) -> str:
        return "producer_thread_engaged"

    @on("search", REFACTOR_SEARCH, to="producer_thread_engaged")
    def search_refactor_search(self, event: Event) -> str:
        search: RefactorSearchPayload = event.payload
        self.ip_address = search.ip_address
        self.routing_key = search.routing_key
        self.exchange_name = search.exchange_name
        return "producer_thread_engaged"

    @on("producer_thread_engaged", ENTRY)
    def producer_thread_engaged_entry(self, _: Event) -> None:
        # A new number each time: the answer of a probe that is still under way must not be taken
        # for one about the new address.
        self._attempt = Attempt(self._attempt.number + 1, self._endpoint(), time.monotonic())
        if self._attempt.endpoint is None:
            self._come_back(Verdict.NOTHING)
        # Not asked again with the same password; the verdict is what it was.
        elif self._attempt.endpoint in self._refusals:
            self._come_back(Verdict.CREDENTIALS)
        else:
            # An event, and no direct transition: an entry action of miros cannot make one.
            self.post_fifo(Event(signal="try_to_connect_to_consumer"))

    @on("producer_thread_engaged", REFACTOR_SEARCH)
    def one_search_at_a_time(self, event: Event) -> None:
        # The source that sent this scout waits for its answer. Of several requests the newest.
        self.defer_queue.clear()
        self.defer(event)

    @on("producer_thread_engaged", "try_to_connect_to_consumer", to="producer_post_and_wait")
    def try_to_connect_to_consumer(self, _: Event) -> str:
        return "producer_post_and_wait"

    @on(
        "producer_thread_engaged",
        "consumer_test_complete",
        to=("amqp_consumer_server_found", "no_amqp_consumer_server_found"),
    )
    def consumer_test_complete(self, event: Event) -> str | None:
        outcome: Outcome = event.payload
        # The answer about an address that was given up, or that `REFACTOR_SEARCH` has replaced.
        if outcome.number != self._attempt.number:
            return None
        self._verdict = outcome.verdict
        if outcome.verdict is Verdict.OURS:
            return "amqp_consumer_server_found"
        return "no_amqp_consumer_server_found"

    @on("producer_post_and_wait", ENTRY)
    def producer_post_and_wait_entry(self, _: Event) -> None:
        number, endpoint = self._attempt.number, self._attempt.endpoint
        if endpoint is None:
            return
        # Taken now: when the job gets a thread, the fields may be those of another attempt.
        exchange, timeout_s = self.exchange_name, self._timeout_s
        self._job = self.threads.network.run(
            lambda: self._probe.probe(endpoint, exchange, timeout_s),
            lambda result: self.tell(
                "consumer_test_complete", Outcome(number, self._judged(endpoint, result))
            ),
        )
        self.later("probe_overdue", timeout_s + _GRACE_S)

    @on("producer_post_and_wait", "probe_overdue")
    def probe_overdue(self, _: Event) -> None:
        allowed = self._timeout_s + _GRACE_S
        left = self._job.left_s(allowed) if self._job else 0.0
        if left > 0:
            self.later("probe_overdue", left)
        else:
            logger.warning(
                "the probe of %s did not end within %g s: it counts as failed",
                self._attempt.endpoint,
                allowed,
            )
            self._come_back(Verdict.FAILED)

    @on("amqp_consumer_server_found", ENTRY)
    @on("no_amqp_consumer_server_found", ENTRY)
    def server_found_or_not_entry(self, _: Event) -> None:
        self.cancel("probe_overdue")
        seconds = time.monotonic() - self._attempt.began_at
        check = AMQPConsumerCheckPayload(
            ip_address=self.ip_address,
            result=self._verdict is Verdict.OURS,
            routing_key=self.routing_key,
            exchange_name=self.exchange_name,
            verdict=self._verdict,
            seconds=seconds,
            origin=self.origin,
        )
        self.observer.scouted(
            source=self._source,
            host=self.ip_address,
            verdict=self._verdict.value,
            seconds=seconds,
        )
        self.publish(Event(signal=AMQP_CONSUMER_CHECK, payload=check))
        self.note(check)
        self.recall()

    def _endpoint(self) -> Endpoint | None:
        try:
            return Endpoint.parse(self.ip_address, self._port)
        except AddressError as error:
            logger.warning("an address is not scouted: %s", error)
            return None

    def _come_back(self, verdict: Verdict) -> None:
        outcome = Outcome(self._attempt.number, verdict)
        self.post_fifo(Event(signal="consumer_test_complete", payload=outcome))

    def _judged(self, endpoint: Endpoint, result: Verdict | Exception) -> Verdict:
        if isinstance(result, Exception):
            logger.warning("the probe of %s raised: it counts as failed", endpoint, exc_info=result)
            return Verdict.FAILED
        # On a thread of the pool, and also when the answer comes too late for the chart.
        if result is Verdict.CREDENTIALS:
            self._refusals.add(endpoint)
        return result
