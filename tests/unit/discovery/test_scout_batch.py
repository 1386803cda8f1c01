"""Scouts that are sent out together."""

from __future__ import annotations

from miros_mesh.discovery.scout_batch import SCOUTS_AT_ONCE, ScoutBatch
from miros_mesh.discovery.signals import AMQPConsumerCheckPayload


class Scout:
    def __init__(self, host: str) -> None:
        self.host = host
        self.dismissed = False

    def dismiss(self) -> None:
        self.dismissed = True


class Scouts:
    """Makes scouts that do nothing, and keeps them."""

    def __init__(self) -> None:
        self.made: list[Scout] = []

    def __call__(self, host: str, source: str) -> Scout:
        assert source == "test"
        self.made.append(Scout(host))
        return self.made[-1]

    @property
    def hosts(self) -> list[str]:
        return [each.host for each in self.made]


def answer(host: str, *, ours: bool) -> AMQPConsumerCheckPayload:
    return AMQPConsumerCheckPayload(host, ours, "#", "exchange")


def test_a_batch_is_complete_when_every_host_has_answered() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    assert batch.complete
    batch.begin(["a", "b", "a"])
    assert scouts.hosts == ["a", "b"]
    assert batch.heard(answer("a", ours=True))
    assert not batch.complete
    assert batch.heard(answer("b", ours=False))
    assert batch.complete
    assert (batch.live, batch.dead) == (("a",), ("b",))
    assert all(each.dismissed for each in scouts.made)


def test_answers_of_other_hosts_and_second_ones_are_not_taken() -> None:
    batch = ScoutBatch(Scouts(), "test")
    batch.begin(["a"])
    assert not batch.heard(answer("b", ours=True))
    assert batch.heard(answer("a", ours=False))
    assert not batch.heard(answer("a", ours=True))
    assert batch.live == ()


def test_so_many_scouts_are_out_at_once_and_an_answer_sends_the_next() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    hosts = [f"host{number}" for number in range(SCOUTS_AT_ONCE + 2)]
    batch.begin(hosts)
    assert scouts.hosts == hosts[:SCOUTS_AT_ONCE]
    batch.heard(answer(hosts[3], ours=False))
    assert scouts.hosts == hosts[: SCOUTS_AT_ONCE + 1]


def test_a_forgotten_host_is_scouted_again() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    batch.begin(["a"])
    batch.heard(answer("a", ours=True))
    batch.forget("a")
    batch.add(["a"])
    assert scouts.hosts == ["a", "a"]


def test_a_stopped_batch_dismisses_its_scouts_and_forgets_its_hosts() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    batch.begin(["a", "b"])
    batch.stop()
    assert all(each.dismissed for each in scouts.made)
    assert not batch.heard(answer("a", ours=True))
    assert batch.complete


def test_a_host_that_is_answered_and_forgotten_while_it_waits_is_no_trouble() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    hosts = [f"host{number}" for number in range(SCOUTS_AT_ONCE + 1)]
    batch.begin(hosts)
    batch.heard(answer(hosts[-1], ours=False))
    batch.forget(hosts[-1])
    batch.heard(answer(hosts[0], ours=False))
    assert scouts.hosts == hosts[:-1]


def test_a_host_that_waits_twice_gets_one_scout() -> None:
    scouts = Scouts()
    batch = ScoutBatch(scouts, "test")
    hosts = [f"host{number}" for number in range(SCOUTS_AT_ONCE + 1)]
    batch.begin(hosts)
    batch.heard(answer(hosts[-1], ours=False))
    batch.forget(hosts[-1])
    batch.add([hosts[-1]])
    for host in hosts[:2]:
        batch.heard(answer(host, ours=False))
    assert scouts.hosts == hosts
