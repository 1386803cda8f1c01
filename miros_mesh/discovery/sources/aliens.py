"""What to do with a stranger that speaks with our key: `AlienChart`, and the gate before it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal, TypeAlias

from miros import Event

from miros_mesh.address import Endpoint
from miros_mesh.discovery.addresses import RFC_4193, is_rfc_1918, lan_is_off
from miros_mesh.discovery.chart import DiscoveryChart, on
from miros_mesh.discovery.scout_batch import ScoutBatch, SendScout
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    CONNECTION_DISCOVERY,
    ConnectionDiscoveryPayload,
)
from miros_mesh.errors import AddressError
from miros_mesh.observer import Observer

logger = logging.getLogger(__name__)

AlienPolicy: TypeAlias = Literal["adopt", "probe", "ignore"]

NAME: Final = "alien_chart"
MOST_ADOPTED: Final = 64
REMEMBERED: Final = 1024
AGAIN_AFTER_S: Final = 60.0
MOST_WAITING: Final = 64
BURST: Final = 10
PER_SECOND: Final = 1.0


def private_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether a stranger may send us there; our credentials go to whoever answers.

    Where the local network is switched off, only this host is left.
    """
    if lan_is_off():
        return address.is_loopback
    if isinstance(address, IPv4Address):
        return is_rfc_1918(address)
    return address in RFC_4193


class AlienGate:
    """Which claims are worth a scout; safe to call from any thread, and cheap."""

    def __init__(
        self,
        policy: AlienPolicy,
        port: int,
        *,
        is_known: Callable[[Endpoint], bool] = lambda _: False,
        allowed: Callable[[IPv4Address | IPv6Address], bool] = private_address,
        observer: Observer | None = None,
        now: Callable[[], float] = time.monotonic,
        most_adopted: int = MOST_ADOPTED,
    ) -> None:
        self._policy = policy
        self._port = port
        self._is_known = is_known
        self._allowed = allowed
        self._observer = observer or Observer()
        self._now = now
        self._most_adopted = most_adopted
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._adopted: set[Endpoint] = set()
        # Hosts that start together speak once, all at once: whose claim is dropped, stays unknown.
        self._waiting: OrderedDict[Endpoint, None] = OrderedDict()
        self._turn_due = False
        self._budget, self._filled_at = float(BURST), now()
        self._lock = threading.Lock()

    @property
    def policy(self) -> AlienPolicy:
        """What is done with strangers."""
        return self._policy

    def admit(self, claim: str) -> Endpoint | None:
        """The endpoint to scout; None when this claim is not worth it, or not now."""
        if self._policy == "ignore" or not self._is_news(claim):
            return None
        endpoint = self._checked(claim)
        if endpoint is None:
            return self._refused("not_allowed")
        return None if self._is_known(endpoint) else self._in_turn(endpoint)

    def needs_turn(self) -> bool:
        """Whether somebody waits and nobody has been told yet, who now is."""
        with self._lock:
            needed = bool(self._waiting) and not self._turn_due
            self._turn_due |= needed
            return needed

    def turn(self) -> Endpoint | None:
        """The endpoint of a claim that had to wait, if it is its turn."""
        with self._lock:
            self._turn_due = False
            for endpoint in [each for each in self._waiting if self._is_known(each)]:
                del self._waiting[endpoint]
            if not self._waiting or not self._afford():
                return None
            endpoint, _ = self._waiting.popitem(last=False)
            full = len(self._adopted) >= self._most_adopted
            return self._refused("too_many") if full else endpoint

    def adopt(self, endpoint: Endpoint) -> None:
        """Count a stranger that was adopted."""
        with self._lock:
            self._adopted.add(endpoint)

    def lost(self, endpoint: Endpoint) -> None:
        """A broker is lost; it may be adopted again, and leaves room for another."""
        with self._lock:
            self._adopted.discard(endpoint)
            self._seen.clear()

    def _in_turn(self, endpoint: Endpoint) -> Endpoint | None:
        with self._lock:
            if len(self._adopted) >= self._most_adopted:
                return self._refused("too_many")
            if self._afford():
                return endpoint
            if len(self._waiting) >= MOST_WAITING:
                return self._refused("rate_limited")
            self._waiting[endpoint] = None
            return None

    def _is_news(self, claim: str) -> bool:
        now = self._now()
        with self._lock:
            if self._seen.get(claim, float("-inf")) + AGAIN_AFTER_S > now:
                return False
            self._seen[claim] = now
            self._seen.move_to_end(claim)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return True

    def _checked(self, claim: str) -> Endpoint | None:
        """No name, which would ask a name server; no port but ours."""
        try:
            endpoint = Endpoint.parse(claim, self._port)
        except AddressError:
            return None
        allowed = endpoint.ip is not None and self._allowed(endpoint.ip)
        return endpoint if allowed and endpoint.port == self._port else None

    def _afford(self) -> bool:
        now = self._now()
        self._budget = min(self._budget + (now - self._filled_at) * PER_SECOND, float(BURST))
        self._filled_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _refused(self, outcome: str) -> Endpoint | None:
        self._observer.alien(outcome=outcome)
        return None


class AlienChart(DiscoveryChart):
    """Scouts where strangers say that their broker is, and tells those that are ours."""

    NEST = (
        ("aliens_awaited", None),
        ("aliens_scouted", "aliens_awaited"),
    )
    HEARS = (AMQP_CONSUMER_CHECK,)
    PUBLISHES = (CONNECTION_DISCOVERY,)

    def __init__(
        self,
        gate: AlienGate,
        *,
        send_scout: SendScout,
        port: int,
        turn_s: float = 1 / PER_SECOND,
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self._gate = gate
        self._turn_s = turn_s
        self._port = port
        self._batch = ScoutBatch(send_scout, "alien")
        self.begin()

    def spoke(self, claim: str) -> None:
        """A node that nobody knows says that its broker is there; from any thread."""
        if endpoint := self._gate.admit(claim):
            self.tell("alien_spoke", str(endpoint))
        elif self._gate.needs_turn():
            self.tell("aliens_wait")

    @on("aliens_awaited", "aliens_wait")
    def aliens_wait(self, _: Event) -> None:
        self.later("next_alien", self._turn_s)

    @on("aliens_awaited", "next_alien")
    def next_alien(self, _: Event) -> None:
        if endpoint := self._gate.turn():
            self.post_fifo(Event(signal="alien_spoke", payload=str(endpoint)))
        if self._gate.needs_turn():
            self.later("next_alien", self._turn_s)

    @on("aliens_awaited", "alien_spoke", to="aliens_scouted")
    def alien_spoke(self, event: Event) -> str:
        self._batch.begin((event.payload,))
        return "aliens_scouted"

    @on("aliens_scouted", "alien_spoke")
    def another_spoke(self, event: Event) -> None:
        self._batch.add((event.payload,))

    @on("aliens_scouted", AMQP_CONSUMER_CHECK)
    def amqp_consumer_check(self, event: Event) -> None:
        check = event.payload
        if not self._batch.heard(check):
            return
        self._batch.forget(check.ip_address)
        if not check.result:
            self.observer.alien(outcome=str(check.verdict))
        elif self._gate.policy == "adopt":
            self._adopt(check.ip_address)
        else:
            logger.info("a broker of our mesh that nobody listed is at %s", check.ip_address)
            self.observer.alien(outcome="probed")
        if self._batch.complete:
            self.post_fifo(Event(signal="aliens_judged"))

    @on("aliens_scouted", "aliens_judged", to="aliens_awaited")
    def aliens_judged(self, _: Event) -> str | None:
        return "aliens_awaited" if self._batch.complete else None

    def stop_children(self) -> None:
        self._batch.stop()

    def _adopt(self, host: str) -> None:
        endpoint = Endpoint.parse(host, self._port)
        self._gate.adopt(endpoint)
        self.observer.alien(outcome="adopted")
        payload = ConnectionDiscoveryPayload((host,), (endpoint.url,), NAME, origin=self.origin)
        self.publish(Event(signal=CONNECTION_DISCOVERY, payload=payload))
