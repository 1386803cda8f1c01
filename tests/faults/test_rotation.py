"""The key of a mesh is changed under load, node by node: no event is lost, and none comes twice.

Five nodes consume at three brokers, three virtual hosts of one server, and publish to all three, as
nodes do that discovery has told of each other.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from miros import Event

from faults.conftest import PATIENT, Told, settings
from faults.traffic import SIGNAL, Account, record
from miros_mesh import NetworkedActiveObject
from miros_mesh.link.ports import Broker
from miros_mesh.wire.keyring import fingerprint, generate_key
from support.charts_at_work import KEY, Launch, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

NODES = 5
BROKERS = 3
EVERY_S = 0.01
ENOUGH = 30
LIMIT_S = 60.0


@dataclass
class Member:
    """A chart on a node of its own, which transmits numbers and keeps what it handled."""

    name: str
    told: Told = field(default_factory=Told)
    sent: int = 0
    handled: dict[str, list[int]] = field(default_factory=dict)
    chart: NetworkedActiveObject = field(init=False)

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            sender, number = received.payload
            self.handled.setdefault(sender, []).append(number)

    def transmit(self) -> None:
        self.chart.transmit(event(SIGNAL, [self.name, self.sent]))
        self.sent += 1

    def has(self, sender: Member) -> bool:
        return len(set(self.handled.get(sender.name, ()))) >= sender.sent


@dataclass
class Load:
    """All members transmit, until it ends."""

    members: Sequence[Member]
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            for member in self.members:
                member.transmit()

    def more(self) -> None:
        """Let each send some more."""
        before = self.members[-1].sent
        wait_until(lambda: self.members[-1].sent >= before + ENOUGH, LIMIT_S)

    def end(self) -> None:
        self._ending.set()
        self._thread.join()


@pytest.fixture
def members(rabbitmq: RabbitServer, launch: Launch) -> list[Member]:
    """Five nodes on three brokers, each of which publishes to all of them."""
    urls = [rabbitmq.url(rabbitmq.new_vhost()) for _ in range(BROKERS)]
    made = []
    for number, url in zip(range(NODES), itertools.cycle(urls), strict=False):
        member = Member(f"node-{number}")
        config = settings(url, mesh_label="rotation", observers=(member.told,), **PATIENT)
        member.chart = launch(member.name, config, member)
        made.append(member)
        peers = node_of(member.chart).peers
        for other in urls:
            (address,) = settings(other).brokers
            peers.add(Broker(address.redacted, (address,)), patient=True).wait_ready(LIMIT_S)
        assert len(peers.brokers) == BROKERS
    return made


@pytest.fixture
def load(members: list[Member]) -> Iterator[Load]:
    running = Load(members)
    yield running
    running.end()


def step(members: Sequence[Member], load: Load, do: Callable[[Member], object]) -> None:
    """Do something on one node after the other, with events between."""
    for member in members:
        do(member)
        load.more()


def accounted(fault: str, members: Sequence[Member]) -> Account:
    """Wait until each has what all the others sent, and put the account into the table."""
    pairs = [(to, sender) for to in members for sender in members if to is not sender]
    late = ", ".join(f"{to.name} of {sender.name}" for to, sender in pairs if not to.has(sender))
    wait_until(lambda: all(to.has(sender) for to, sender in pairs), LIMIT_S, message=late)
    accounts = [Account.of(range(s.sent), to.handled.get(s.name, ())) for to, s in pairs]
    total = Account(
        *(
            sum(getattr(each, figure) for each in accounts)
            for figure in ("sent", "lost", "duplicated", "out_of_order")
        )
    )
    record(fault, total)
    return total


def test_a_rolling_rotation_under_load(members: list[Member], load: Load) -> None:
    new = generate_key()
    load.more()

    step(members, load, lambda member: member.chart.key_ring().add(new))
    step(members, load, lambda member: member.chart.key_ring().use(new))
    # What was sent under the old key until now is handled before that goes.
    wait_until(lambda: all(idle(member, KEY) > 1 for member in members), LIMIT_S)
    step(members, load, lambda member: member.chart.key_ring().remove(KEY))

    load.end()
    account = accounted("key rotated, node by node", members)
    assert account.perfect, account
    for member in members:
        assert member.chart.key_ring().fingerprints == (fingerprint(new),)
        assert member.told.dropped_for("undecryptable", "wrong_mesh") == 0
        assert member.told.missing == 0


@pytest.mark.proof
@pytest.mark.parametrize("missed", ["add", "use"])
def test_a_node_that_misses_a_step(missed: str, members: list[Member], load: Load) -> None:
    """Of what it cannot open, and others cannot, nothing is lost once it catches up."""
    new, (late, *others) = generate_key(), members
    load.more()
    added = others if missed == "add" else members
    step(added, load, lambda member: member.chart.key_ring().add(new))
    step(others, load, lambda member: member.chart.key_ring().use(new))
    if missed == "use":
        wait_until(
            lambda: all(len(each.handled.get(late.name, ())) > ENOUGH for each in others), LIMIT_S
        )
        for each in others:
            each.chart.key_ring().remove(KEY)
        stranded = others
    else:
        stranded = [late]
    # The frames are told, counted, and kept as dead letters.
    wait_until(lambda: all(each.told.dropped_for("undecryptable") for each in stranded), LIMIT_S)
    load.more()

    late.chart.key_ring().add(new)
    late.chart.key_ring().use(new)
    load.more()

    load.end()
    account = accounted(f"key rotated, a node misses `{missed}`", members)
    assert account.perfect, account
    assert all(member.told.missing == 0 for member in members)


def idle(member: Member, key: bytes) -> float:
    """How long ago a member needed a key."""
    states = member.chart.key_ring().states
    idle_s = next(each.idle_s for each in states if each.id == fingerprint(key))
    return float("inf") if idle_s is None else idle_s
