"""What the RabbitMQ at hand does otherwise than others; `docs/brokers.md` has the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.broker_facts import FACTS, Fact, version
from support.rabbitmq_server import RabbitServer
from support.tables import BROKER


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.what)
def test_a_rabbitmq_does_what_the_page_says_of_its_version(
    rabbitmq: RabbitServer,
    vhost_url: str,
    fact: Fact,
    record_property: Callable[[str, object], None],
) -> None:
    seen = fact.measure(rabbitmq, vhost_url)
    record_property(BROKER, (version(rabbitmq), fact.what, seen))
    assert seen == fact.of(version(rabbitmq))
