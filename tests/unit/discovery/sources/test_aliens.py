"""Unknown nodes that speak with our key: who is scouted, who is adopted."""

from __future__ import annotations

import threading

import pytest

from miros_mesh.discovery.signals import CONNECTION_DISCOVERY
from miros_mesh.discovery.sources.alien_gate import BURST, AlienGate
from miros_mesh.discovery.sources.aliens import AlienChart
from miros_mesh.discovery.verdict import Verdict
from support.discovery_field import (
    ORIGIN,
    Brokers,
    Diary,
    ears,
    running,
    scouts,
    trace_of,
)
from support.waiting import wait_until

CLAIM = "192.168.1.99"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def aliens(brokers: Brokers, policy="adopt", **settings) -> AlienChart:
    diary = settings.pop("observer", None)
    turn_s = settings.pop("turn_s", 1.0)
    return AlienChart(
        AlienGate(5672, allowed=lambda ip: ip.is_private, observer=diary, **settings),
        policy=policy,
        send_scout=scouts(brokers, origin=ORIGIN),
        port=5672,
        turn_s=turn_s,
        origin=ORIGIN,
        observer=diary,
    )


def test_an_unknown_node_whose_broker_is_ours_is_adopted() -> None:
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


def test_by_the_policy_probe_a_broker_is_looked_at_and_not_adopted() -> None:
    brokers, diary = Brokers(), Diary()
    brokers.ours(CLAIM)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(aliens(brokers, "probe", observer=diary)) as chart,
    ):
        chart.spoke(CLAIM)
        wait_until(lambda: diary.aliens == ["probed"])
        assert heard.of(CONNECTION_DISCOVERY) == []


def test_several_claims_at_once_are_all_judged() -> None:
    brokers, diary = Brokers(), Diary()
    hosts = [f"192.168.1.{last}" for last in range(100, 106)]
    brokers.ours(*hosts)
    with running(aliens(brokers, observer=diary)) as chart:
        for host in hosts:
            chart.spoke(host)
        wait_until(lambda: diary.aliens == ["adopted"] * len(hosts))
        wait_until(lambda: chart.state_name == "aliens_awaited")


def test_a_judged_claim_is_forgotten_while_others_are_looked_at() -> None:
    # Given one claim whose host does not answer
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


def test_of_many_hosts_that_start_together_none_is_forgotten() -> None:
    """Each says where its broker is as it starts, and then perhaps not again for long."""
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
