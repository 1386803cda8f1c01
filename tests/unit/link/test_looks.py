"""Looks at brokers: what they find, and their end."""

from __future__ import annotations

import kombu
import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.errors import BrokerUnreachableError, LinkError, NoMeshError, OtherKeyError
from miros_mesh.link.looks import Looks
from miros_mesh.link.ports import Broker
from support.memory_connection import memory_connection
from support.post_office import LIMIT_S

BROKER = Broker("memory")


def look(looks: Looks) -> None:
    looks.look(BROKER, exchange="mesh", marks=("key.1", "key.2"), timeout_s=LIMIT_S)


@pytest.mark.parametrize(
    ("exchanges", "refusal"),
    [(["key.1"], NoMeshError), (["mesh", "key.9"], OtherKeyError), (["mesh", "key.2"], None)],
)
def test_the_exchanges_say_whose_mesh_it_is(
    exchanges: list[str], refusal: type[LinkError] | None
) -> None:
    store = MemoryStore()
    with memory_connection(store) as connection:
        for exchange in exchanges:
            kombu.Exchange(exchange, type="topic")(connection.channel()).declare()
        looks = Looks(lambda _: memory_connection(store))

        if refusal is None:
            look(looks)
        else:
            with pytest.raises(refusal, match="memory"):
                look(looks)


def test_after_stop_none_begins() -> None:
    looks = Looks(lambda _: memory_connection())
    looks.stop()

    with pytest.raises(BrokerUnreachableError, match="memory is not looked at any more"):
        look(looks)
