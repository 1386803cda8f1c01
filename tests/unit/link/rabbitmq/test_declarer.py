"""Bindings made again: all of them in turn, some at a time, and without waiting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import kombu

from miros_mesh.link.ports import Binding
from miros_mesh.link.rabbitmq.declarer import BINDINGS_AT_ONCE, Declarer
from miros_mesh.link.rabbitmq.queues import queue_of
from support.post_office import EXCHANGE, queue


class Channel:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.declared: list[str] = []
        self.bound: list[str] = []
        self.patterns: list[str] = []

    def exchange_declare(self, exchange: str, *, nowait: bool, **_: Any) -> None:
        assert nowait
        assert not self.bound, "the exchange comes first"
        self.declared.append(exchange)

    def queue_bind(self, queue: str, *, routing_key: str, nowait: bool, **_: Any) -> None:
        assert nowait
        self.bound.append(queue)
        self.patterns.append(routing_key)


def declarer() -> tuple[Declarer, Channel]:
    channel = Channel()
    return Declarer(SimpleNamespace(connection=None, channel=lambda: channel)), channel


def queues(count: int) -> list[kombu.Queue]:
    return [queue_of(queue(str(number))) for number in range(count)]


def bound(one: Declarer, channel: Channel, some: list[kombu.Queue]) -> list[str]:
    """What one more call binds."""
    channel.bound, channel.declared = [], []
    one.bind_some(some)
    assert channel.declared == ([EXCHANGE] if some else [])
    return channel.bound


def test_few_queues_are_bound_at_every_call() -> None:
    (one, channel), some = declarer(), queues(3)

    for _ in range(2):
        assert bound(one, channel, some) == [each.name for each in some]


def test_many_queues_are_bound_in_turn() -> None:
    (one, channel), some = declarer(), queues(2 * BINDINGS_AT_ONCE + 1)

    rounds = [bound(one, channel, some) for _ in range(4)]

    assert [len(each) for each in rounds[:3]] == [BINDINGS_AT_ONCE, BINDINGS_AT_ONCE, 1]
    assert [*rounds[0], *rounds[1], *rounds[2]] == [each.name for each in some]
    assert rounds[3] == rounds[0]


def test_a_queue_of_many_bindings_is_bound_in_turn_as_well() -> None:
    one, channel = declarer()
    bindings = [Binding(EXCHANGE, str(number)) for number in range(BINDINGS_AT_ONCE + 2)]
    many = queue_of(queue("many", bindings=tuple(bindings)))
    few = queue_of(queue("few"))

    rounds = [bound(one, channel, [many, few]) for _ in range(2)]

    assert rounds == [[many.name] * BINDINGS_AT_ONCE, [many.name, many.name, few.name]]
    assert len(set(channel.patterns)) == len(bindings) + 1


def test_queues_may_come_and_go_between_the_calls() -> None:
    one, channel = declarer()
    assert bound(one, channel, []) == []
    bound(one, channel, queues(BINDINGS_AT_ONCE + 1))

    assert len(bound(one, channel, queues(2))) == 2
