"""The upkeep finds what is over, and changes nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pytest

from miros_mesh.embedded import consumers, definitions
from miros_mesh.embedded.database import Database
from miros_mesh.embedded.definitions import Traits
from miros_mesh.embedded.schema import open_memory
from miros_mesh.embedded.upkeep import Upkeep

LONG_AGO, FUTURE = -1e9, 1e12
EXPIRING = Traits(arguments={"x-expires": 60_000})


class Broker:
    """A database, and the doorbells that answer."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.alive: set[str] = set()
        self.rung: list[str] = []
        self.upkeep = Upkeep(database, self)

    def answers(self, address: str) -> bool:
        return address in self.alive

    def ring(self, addresses: Iterable[str]) -> None:
        self.rung += addresses

    def declare(
        self,
        name: str,
        traits: Traits = EXPIRING,
        *,
        owner: str | None = None,
        consumer: str = "",
        **columns: object,
    ) -> None:
        """Make a queue whose row has these values, with a consumer perhaps."""
        with self.database.write() as run:
            definitions.declare_queue(run, name, traits, owner)
            if consumer:
                consumers.join(run, name, consumer, 0, lambda _: True, alone=False)
            for column, value in columns.items():
                run.execute(f"UPDATE queues SET {column} = ? WHERE name = ?", (value, name))

    def column(self, name: str, column: str) -> object:
        ((value,),) = self.database.read(f"SELECT {column} FROM queues WHERE name = ?", name)
        return value

    @property
    def queues(self) -> set[str]:
        return {name for (name,) in self.database.read("SELECT name FROM queues")}

    @property
    def topology(self) -> tuple[int, int]:
        (row,) = self.database.read("SELECT version, turns FROM topology")
        return tuple(row)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A new one, in memory."""
    made = Broker(open_memory())
    yield made
    made.database.close()


def test_a_queue_goes_when_its_time_without_a_consumer_is_over(broker: Broker) -> None:
    broker.alive.add("bell")
    broker.declare("over", used_at=LONG_AGO)
    broker.declare("consumed", used_at=LONG_AGO, consumer="bell")
    broker.declare("young")
    broker.declare("lasting", Traits(), used_at=LONG_AGO)

    broker.upkeep.run(at_once=True)

    assert broker.queues == {"consumed", "young", "lasting"}


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0, 86_400.0, -86_400.0])
def test_a_clock_that_jumps_makes_no_queue_older_or_younger(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    broker.declare("young")
    broker.declare("over", used_at=time.monotonic() - 61)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + step_s)

    broker.upkeep.run(at_once=True)

    assert broker.queues == {"young"}


def test_the_time_begins_anew_after_a_restart_of_the_machine(broker: Broker) -> None:
    broker.declare("queue", used_at=FUTURE)

    broker.upkeep.run(at_once=True)

    used_at = broker.column("queue", "used_at")
    assert isinstance(used_at, float)
    assert used_at < FUTURE


def test_the_dead_lose_what_they_own_and_consume(broker: Broker) -> None:
    broker.alive.add("alive")
    for bell in ("alive", "dead"):
        broker.declare(f"owned by the {bell}", Traits(exclusive=True), owner=bell)
        broker.declare(f"consumed by the {bell}", used_at=LONG_AGO, consumer=bell)
        broker.declare(f"for the {bell} only", Traits(auto_delete=True), consumer=bell)
    version, turns = broker.topology

    broker.upkeep.run(at_once=True)

    assert broker.queues == {
        "owned by the alive",
        "consumed by the alive",
        "for the alive only",
        "consumed by the dead",
    }
    assert broker.column("consumed by the dead", "consumer") is None
    assert broker.column("consumed by the dead", "used_at") != LONG_AGO
    assert broker.column("consumed by the alive", "consumer") == "alive"
    assert broker.topology > (version, turns)
    # No one is left who has to look what it has.
    assert broker.topology[1] == turns
    assert broker.database.read("SELECT address FROM doorbells") == [("alive",)]


def test_nothing_is_written_when_nothing_is_over(broker: Broker) -> None:
    broker.alive.add("bell")
    broker.declare("consumed", consumer="bell")
    broker.declare("waiting")
    before = broker.topology

    broker.upkeep.run(at_once=True)

    assert broker.topology == before


def test_it_looks_around_once_a_second(broker: Broker) -> None:
    broker.upkeep.run(at_once=False)
    broker.declare("over", used_at=LONG_AGO)

    broker.upkeep.run(at_once=False)
    assert broker.queues == {"over"}

    broker.upkeep.run(at_once=True)
    assert broker.queues == set()
