"""What a queue is declared with."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.link.ports import Binding
from miros_mesh.link.rabbitmq.queues import letters, prefetch_of, queue_of
from miros_mesh.networks.letters.home import LARGEST_LETTER_BYTES
from support.post_office import EXCHANGE, queue

EVERY = {"x-expires": 60_000, "x-single-active-consumer": True}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {}),
        ({"max_length": 7, "max_bytes": 99}, {"x-max-length": 7, "x-max-length-bytes": 99}),
        ({"dead_letters": True}, {}),
        ({"replicated": True}, {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}),
    ],
)
def test_its_spec_becomes_its_arguments(changes: dict[str, Any], more: dict[str, Any]) -> None:
    assert queue_of(queue(**changes)).queue_arguments == EVERY | more


def test_it_is_durable_and_bound_to_a_durable_topic_exchange() -> None:
    made = queue_of(queue("name", "a.#"))
    (bound,) = made.bindings

    assert (made.name, bound.routing_key, made.durable) == ("miros_mesh.v1.name", "a.#", True)
    exchange = bound.exchange
    assert (exchange.name, exchange.type, exchange.durable) == (EXCHANGE, "topic", True)


def test_it_is_bound_to_every_pattern_of_every_exchange() -> None:
    wanted = {(EXCHANGE, "a.#"), (EXCHANGE, "b"), ("other", "b")}

    made = queue_of(queue(bindings=tuple(Binding(*each) for each in wanted)))

    assert {(each.exchange.name, each.routing_key) for each in made.bindings} == wanted


@pytest.mark.parametrize(
    ("prefetch", "replicated", "taken"), [(200, False, 200), (200, True, 30), (5, True, 5)]
)
def test_a_quorum_queue_is_asked_for_no_more_acknowledgements_than_it_keeps(
    prefetch: int, replicated: bool, taken: int
) -> None:
    assert prefetch_of(queue(prefetch=prefetch, replicated=replicated)) == taken


def test_the_queue_of_dead_letters_has_an_end() -> None:
    made = letters()
    arguments = made.queue_arguments

    assert (made.exchange.type, made.routing_key) == ("topic", "#")
    assert arguments["x-overflow"] == "drop-head"
    assert arguments["x-max-length"] == 1_000
    # One letter pushes out few others.
    assert arguments["x-max-length-bytes"] > 15 * LARGEST_LETTER_BYTES
    assert arguments["x-message-ttl"] == 7 * 24 * 3600 * 1000
