"""Queues against a model of them: whatever their consumer does, and in whatever order."""

from __future__ import annotations

import select
from typing import Any

import kombu
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from miros_mesh.embedded.memory import MemoryStore
from support.kombu_peer import Peer, text

QUEUES = ("one", "two", "three")
QUEUE = st.sampled_from(QUEUES)
CHOICES = st.integers(0, 100)


class QueueMachine(RuleBasedStateMachine):
    """The model: which messages are stored where, which of them we hold, which came before."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.stored: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.held: dict[int, Any] = {}
        self.returned: set[int] = set()
        self.published = 0

    @initialize(prefetch=st.integers(0, 4))
    def connect(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.peer = Peer(self.store.dial())
        self.sender = Peer(self.store.dial())
        self.consumers = {queue: self._consume(queue) for queue in QUEUES}

    @rule(queue=QUEUE)
    def publish(self, queue: str) -> None:
        self.published += 1
        self.stored[queue].append(self.published)
        self.sender.publish(str(self.published), queue)

    @rule()
    def receive_all(self) -> None:
        expected = {queue: self._expected(queue) for queue in QUEUES}

        # As the link does: it drains only while the descriptor says that there is something.
        while select.select([self.peer.connection.connection.fileno()], (), (), 0)[0]:
            self.peer.turn(0)

        came: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        for message in self.peer.received:
            number = int(text(message.body))
            came[message.delivery_info["routing_key"]].append(number)
            assert message.delivery_info["redelivered"] is (number in self.returned)
            self.held[number] = message
        assert came == expected
        self.peer.received.clear()

    @precondition(lambda self: self.held)
    @rule(choice=CHOICES)
    def acknowledge(self, choice: int) -> None:
        number = self._one_of_those_held(choice)
        self.held.pop(number).ack()
        self._remove(number)

    @precondition(lambda self: self.held)
    @rule(choice=CHOICES)
    def reject(self, choice: int) -> None:
        number = self._one_of_those_held(choice)
        self.held.pop(number).reject()
        self._remove(number)

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

    @rule(queue=QUEUE)
    def cancel_and_consume_again(self, queue: str) -> None:
        self.returned |= self.held.keys() & set(self.stored[queue])
        self.consumers[queue].cancel()
        self.consumers[queue] = self._consume(queue)

    @rule()
    def reconnect(self) -> None:
        self.peer.close()
        self.sender.close()
        self._return_all()
        self.connect(self.prefetch)

    def teardown(self) -> None:
        if hasattr(self, "peer"):
            for queue, stored in self.stored.items():
                assert self.sender.size(queue) >= len(stored)
            self.sender.close()
            self.peer.close()

    def _consume(self, queue: str) -> kombu.Consumer:
        return self.peer.consume(queue, queue, prefetch=self.prefetch)

    def _expected(self, queue: str) -> list[int]:
        held = self.held.keys() & set(self.stored[queue])
        room = self.prefetch - len(held) if self.prefetch else None
        return [number for number in self.stored[queue] if number not in held][:room]

    def _one_of_those_held(self, choice: int) -> int:
        return sorted(self.held)[choice % len(self.held)]

    def _remove(self, number: int) -> None:
        for stored in self.stored.values():
            if number in stored:
                stored.remove(number)

    def _return_all(self) -> None:
        self.returned |= self.held.keys()
        self.held.clear()


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase
