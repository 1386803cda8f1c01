"""`AlienChart`: scouts the brokers that unknown nodes name, and adopts those of our mesh."""

from __future__ import annotations

from typing import Any, Final

from miros import Event

from miros_mesh.address import Endpoint
from miros_mesh.discovery.chart import DiscoveryChart, on
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout_batch import ScoutBatch, SendScout
from miros_mesh.discovery.settings import AlienPolicy
from miros_mesh.discovery.signals import AMQP_CONSUMER_CHECK, CONNECTION_DISCOVERY
from miros_mesh.discovery.sources.alien_gate import PER_SECOND, AlienGate
from miros_mesh.text import logger_of

logger = logger_of(__name__)

NAME: Final = "alien_chart"


class AlienChart(DiscoveryChart):
    """Scouts where unknown nodes say that their broker is, and publishes those that are ours."""

    NEST = (
        ("aliens_awaited", None),
        ("aliens_scouted", "aliens_awaited"),
    )
    HEARS = (AMQP_CONSUMER_CHECK,)
    READS = FORMS
    PUBLISHES = (CONNECTION_DISCOVERY,)

    def __init__(
        self,
        gate: AlienGate,
        *,
        policy: AlienPolicy,
        send_scout: SendScout,
        port: int,
        turn_s: float = 1 / PER_SECOND,
        **common: Any,
    ) -> None:
        super().__init__(NAME, **common)
        self._gate = gate
        self._policy = policy
        self._turn_s = turn_s
        self._port = port
        # It never ends: hosts are added while others are out, and forgotten when judged.
        self._batch = ScoutBatch(send_scout, "alien")
        self.begin()

    def spoke(self, claim: str) -> None:
        """Take the claim of an unknown node that its broker is at `claim`; from any thread."""
        # On the subscriber's thread, for each claim: only what passes the gate costs an event.
        if endpoint := self._gate.admit(claim):
            self.tell("alien_spoke", str(endpoint))
        elif self._gate.needs_turn():
            self.tell("aliens_wait")

    @on("aliens_awaited", "aliens_wait")
    def aliens_wait(self, _: Event) -> None:
        # One alarm at a time: the gate asks for a turn only when none is due.
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
        # Before it is judged, so that a later claim of the same host is scouted anew.
        self._batch.forget(check.ip_address)
        if not check.result:
            self.observer.alien(outcome=check.verdict.value)
        elif self._policy == "adopt":
            self._adopt(check.ip_address)
        else:
            logger.info(
                "an unknown broker of our mesh is at %s; alien_policy=%s: it is not used",
                check.ip_address,
                self._policy,
            )
            self.observer.alien(outcome="probed")
        if self._batch.complete:
            self.post_fifo(Event(signal="aliens_judged"))

    @on("aliens_scouted", "aliens_judged", to="aliens_awaited")
    def aliens_judged(self, _: Event) -> str | None:
        # Another host may have been added since that event was posted.
        return "aliens_awaited" if self._batch.complete else None

    def stop_children(self) -> None:
        self._batch.stop()

    def renew(self) -> None:
        # It may have died before it took the turn that is due.
        self.post_fifo(Event(signal="next_alien"))

    def _adopt(self, host: str) -> None:
        # Before the others hear of it: claims that come meanwhile see the limit.
        self._gate.adopt(Endpoint.parse(host, self._port))
        self.observer.alien(outcome="adopted")
        self.publish_brokers((host,), port=self._port)
