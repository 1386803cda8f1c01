"""A queue against a model of it: whatever its consumer does, and in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from miros_mesh.embedded.memory import MemoryStore
from support.kombu_peer import Peer, text

QUEUE = "queue"
CHOICES = st.integers(0, 100)


class QueueMachine(RuleBasedStateMachine):
    """The model: which messages are stored, which of them we hold, which came before."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.stored: list[int] = []
        self.held: dict[int, Any] = {}
        self.returned: set[int] = set()
        self.published = 0

    @initialize(prefetch=st.integers(0, 4))
    def connect(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.peer = Peer(self.store.dial())
        self.consumer = self.peer.consume(QUEUE, prefetch=prefetch)

    @rule()
    def publish(self) -> None:
        self.published += 1
        self.stored.append(self.published)
        self.peer.publish(str(self.published))

    @rule()
    def receive_all(self) -> None:
        room = self.prefetch - len(self.held) if self.prefetch else None
        expected = [number for number in self.stored if number not in self.held][:room]

        while self.peer.turn(0):
            pass

        assert [int(text(message.body)) for message in self.peer.received] == expected
        for number, message in zip(expected, self.peer.received, strict=True):
            assert message.delivery_info["redelivered"] is (number in self.returned)
            self.held[number] = message
        self.peer.received.clear()

    @precondition(lambda self: self.held)
    @rule(choice=CHOICES)
    def acknowledge(self, choice: int) -> None:
        number = self._one_of_those_held(choice)
        self.held.pop(number).ack()
        self.stored.remove(number)

    @precondition(lambda self: self.held)
    @rule(choice=CHOICES)
    def requeue(self, choice: int) -> None:
        number = self._one_of_those_held(choice)
        self.held.pop(number).requeue()
        self.returned.add(number)

    @rule()
    def recover(self) -> None:
        self.peer.channel.basic_recover(requeue=True)
        self._return_all()

    @rule()
    def cancel_and_consume_again(self) -> None:
        self.returned |= self.held.keys()
        self.consumer.cancel()
        self.consumer = self.peer.consume(QUEUE, prefetch=self.prefetch)

    @rule()
    def reconnect(self) -> None:
        self.peer.close()
        self._return_all()
        self.connect(self.prefetch)

    def teardown(self) -> None:
        if hasattr(self, "peer"):
            assert self.peer.size(QUEUE) >= len(self.stored)
            self.peer.turn(0)
            self.peer.close()

    def _one_of_those_held(self, choice: int) -> int:
        return sorted(self.held)[choice % len(self.held)]

    def _return_all(self) -> None:
        self.returned |= self.held.keys()
        self.held.clear()


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase
