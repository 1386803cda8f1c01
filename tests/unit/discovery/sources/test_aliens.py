"""Strangers that speak with our key: who is scouted, who is adopted."""

from __future__ import annotations

import threading
from ipaddress import ip_address

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY
from miros_mesh.discovery.sources.aliens import (
    AGAIN_AFTER_S,
    BURST,
    MOST_WAITING,
    AlienChart,
    AlienGate,
    private_address,
)
from miros_mesh.discovery.verdict import Verdict
from support.discovery_field import (
    ORIGIN,
    Brokers,
    Diary,
    ears,
    running,
    scouts,
    switch_on,
    trace_of,
)
from support.waiting import wait_until

CLAIM = "192.168.1.99"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def gate(policy="adopt", **settings) -> AlienGate:
    return AlienGate(policy, 5672, **{"allowed": lambda ip: ip.is_private, **settings})


def aliens(brokers: Brokers, policy="adopt", **settings) -> AlienChart:
    diary = settings.pop("observer", None)
    turn_s = settings.pop("turn_s", 1.0)
    return AlienChart(
        gate(policy, observer=diary, **settings),
        send_scout=scouts(brokers, origin=ORIGIN),
        port=5672,
        turn_s=turn_s,
        origin=ORIGIN,
        observer=diary,
    )


def test_a_stranger_whose_broker_is_ours_is_adopted() -> None:
    brokers, diary = Brokers(), Diary()
    brokers.ours(CLAIM)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(aliens(brokers, observer=diary)) as chart,
    ):
        chart.spoke(CLAIM)
        discovery = heard.wait_for(CONNECTION_DISCOVERY)
        wait_until(lambda: len(trace_of(chart)) == 3)
        assert trace_of(chart) == [
            "[alien_chart] e->start_at() top->aliens_awaited",
            "[alien_chart] e->alien_spoke() aliens_awaited->aliens_scouted",
            "[alien_chart] e->aliens_judged() aliens_scouted->aliens_awaited",
        ]
    assert discovery.hosts == (f"{CLAIM}:5672",)
    assert discovery.dispatcher == "alien_chart"
    assert diary.aliens == ["adopted"]


@pytest.mark.parametrize(
    "verdict", [Verdict.NOTHING, Verdict.CREDENTIALS, Verdict.NO_MESH, Verdict.OTHER_KEY]
)
def test_a_claim_that_is_not_true_is_not_adopted(verdict: Verdict) -> None:
    brokers, diary = Brokers(), Diary()
    brokers.at[CLAIM] = verdict
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(aliens(brokers, observer=diary)) as chart,
    ):
        chart.spoke(CLAIM)
        wait_until(lambda: diary.aliens == [str(verdict)])
        assert heard.of(CONNECTION_DISCOVERY) == []


def test_by_the_policy_probe_a_stranger_is_looked_at_and_not_adopted() -> None:
    brokers, diary = Brokers(), Diary()
    brokers.ours(CLAIM)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(aliens(brokers, "probe", observer=diary)) as chart,
    ):
        chart.spoke(CLAIM)
        wait_until(lambda: diary.aliens == ["probed"])
        assert heard.of(CONNECTION_DISCOVERY) == []


def test_by_the_policy_ignore_nothing_is_sent() -> None:
    assert gate("ignore").admit(CLAIM) is None


def test_several_strangers_at_once_are_all_judged() -> None:
    brokers, diary = Brokers(), Diary()
    hosts = [f"192.168.1.{last}" for last in range(100, 106)]
    brokers.ours(*hosts)
    with running(aliens(brokers, observer=diary)) as chart:
        for host in hosts:
            chart.spoke(host)
        wait_until(lambda: diary.aliens == ["adopted"] * len(hosts))
        wait_until(lambda: chart.state_name == "aliens_awaited")


def test_whoever_was_judged_is_remembered_no_longer_while_others_are_looked_at() -> None:
    # Given one stranger whose host does not answer
    brokers, diary = Brokers(), Diary()
    brokers.hold["192.168.1.9"] = threading.Event()
    with running(aliens(brokers, observer=diary)) as chart:
        chart.spoke("192.168.1.9")
        # When others come and are judged
        for last in range(100, 105):
            chart.spoke(f"192.168.1.{last}")
        wait_until(lambda: len(diary.aliens) == 5)
        # Then only that one is kept
        assert list(chart._batch.nodes) == ["192.168.1.9:5672"]
        brokers.stop()
        wait_until(lambda: not chart._batch.nodes)


def test_each_frame_of_a_stranger_is_not_another_scout() -> None:
    clock = Clock()
    entry = gate(now=clock)
    assert entry.admit(CLAIM) == Endpoint(CLAIM, 5672)
    assert entry.admit(CLAIM) is None
    clock.now += AGAIN_AFTER_S
    assert entry.admit(CLAIM)


def test_many_claims_are_rate_limited() -> None:
    clock, diary = Clock(), Diary()
    entry = gate(now=clock, observer=diary)
    claims = iter([f"10.0.{third}.{last}" for third in range(3) for last in range(100)])
    assert len([c for _ in range(100) if (c := entry.admit(next(claims)))]) == BURST
    assert diary.aliens == ["rate_limited"] * (100 - BURST - MOST_WAITING)
    clock.now += 3.0
    assert len([c for _ in range(100) if (c := entry.admit(next(claims)))]) == 3


def test_claims_that_have_to_wait_get_their_turn() -> None:
    clock = Clock()
    entry = gate(now=clock)
    claims = [f"10.0.0.{last}" for last in range(1, BURST + 4)]
    admitted = [each for claim in claims if (each := entry.admit(claim))]
    assert entry.needs_turn()
    assert not entry.needs_turn()
    assert entry.turn() is None
    assert entry.needs_turn()
    for _ in range(3):
        clock.now += 1.0
        turn = entry.turn()
        assert turn
        admitted.append(turn)
    assert admitted == [Endpoint(claim, 5672) for claim in claims]
    assert not entry.needs_turn()


def test_who_became_known_or_too_many_while_it_waited_is_not_looked_at() -> None:
    clock, diary = Clock(), Diary()
    known: set[Endpoint] = set()
    entry = gate(now=clock, observer=diary, is_known=known.__contains__, most_adopted=BURST)
    for last in range(1, BURST + 3):
        entry.admit(f"10.0.0.{last}")
    known.add(Endpoint(f"10.0.0.{BURST + 1}", 5672))
    for last in range(1, BURST + 1):
        entry.adopt(Endpoint(f"10.0.0.{last}", 5672))
    clock.now += 1.0
    assert entry.turn() is None
    assert diary.aliens == ["too_many"]
    assert not entry.needs_turn()


def test_of_many_hosts_that_start_together_none_is_forgotten() -> None:
    """Each says where it lives as it starts, and then perhaps not again for long."""
    brokers, diary, clock = Brokers(), Diary(), Clock()
    hosts = [f"192.168.1.{last}" for last in range(100, 100 + 2 * BURST)]
    brokers.ours(*hosts)
    with running(aliens(brokers, observer=diary, now=clock, turn_s=0.01)) as chart:
        for host in hosts:
            chart.spoke(host)
        wait_until(lambda: diary.aliens == ["adopted"] * BURST)
        clock.now += BURST
        wait_until(lambda: diary.aliens == ["adopted"] * len(hosts))
    assert sorted(brokers.asked) == sorted(hosts)


def test_only_so_many_are_adopted_until_one_is_lost() -> None:
    diary = Diary()
    entry = gate(most_adopted=1, observer=diary)
    first = entry.admit(CLAIM)
    entry.adopt(first)
    assert entry.admit("192.168.1.100") is None
    assert diary.aliens == ["too_many"]
    entry.lost(first)
    assert entry.admit("192.168.1.100")


def test_what_is_remembered_of_claims_has_a_bound() -> None:
    entry = gate()
    for number in range(5000):
        entry.admit(f"claim {number}")
    assert len(entry._seen) == 1024


def test_a_known_broker_is_no_alien() -> None:
    assert gate(is_known=lambda _: True).admit(CLAIM) is None


@pytest.mark.parametrize(
    "claim",
    ["evil.example.org", "8.8.8.8", "0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.169.254",
     "127.0.0.1", "192.0.2.1", "192.168.1.99:22", "bob:dobbs@192.168.1.99", "", "::1", "fe80::1",
     "2001:db8::1", "localhost", "\x00", "x" * 10_000],
)  # fmt: skip
def test_a_claim_leads_to_private_addresses_and_our_port_only(claim: str, monkeypatch) -> None:
    switch_on(monkeypatch)
    diary = Diary()
    assert AlienGate("adopt", 5672, observer=diary).admit(claim) is None
    assert diary.aliens == ["not_allowed"]


@pytest.mark.parametrize("claim", ["192.168.1.99", "10.1.2.3", "172.16.0.9", "fd00::9"])
def test_private_addresses_are_allowed(claim: str, monkeypatch) -> None:
    switch_on(monkeypatch)
    assert AlienGate("adopt", 5672).admit(claim) == Endpoint(claim, 5672)


def test_where_the_local_network_is_off_a_stranger_leads_nowhere_else() -> None:
    assert not private_address(ip_address("192.168.1.99"))
    assert not private_address(ip_address("fd00::9"))
    assert private_address(ip_address("127.0.0.9"))
