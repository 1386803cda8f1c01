"""Which claims of unknown nodes lead to a scout."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.sources.alien_gate import (
    AGAIN_AFTER_S,
    BURST,
    MOST_WAITING,
    AlienGate,
    private_address,
)
from support.discovery_field import Diary, switch_on

CLAIM = "192.168.1.99"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def gate(**settings) -> AlienGate:
    return AlienGate(5672, **{"allowed": lambda ip: ip.is_private, **settings})


def test_each_frame_of_an_unknown_node_is_not_another_scout() -> None:
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


def test_a_claim_that_became_known_or_one_too_many_while_it_waited_is_not_looked_at() -> None:
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
    assert AlienGate(5672, observer=diary).admit(claim) is None
    assert diary.aliens == ["not_allowed"]


@pytest.mark.parametrize("claim", ["192.168.1.99", "10.1.2.3", "172.16.0.9", "fd00::9"])
def test_private_addresses_are_allowed(claim: str, monkeypatch) -> None:
    switch_on(monkeypatch)
    assert AlienGate(5672).admit(claim) == Endpoint(claim, 5672)


def test_where_the_local_network_is_off_a_claim_leads_to_this_host_only() -> None:
    assert not private_address(ip_address("192.168.1.99"))
    assert not private_address(ip_address("fd00::9"))
    assert private_address(ip_address("127.0.0.9"))
