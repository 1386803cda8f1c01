"""`RabbitConsumerScoutChart`: one address, one answer."""

from __future__ import annotations

import threading

import pytest
from miros import Event

from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    REFACTOR_SEARCH,
    AMQPConsumerCheckPayload,
    RefactorSearchPayload,
)
from miros_mesh.discovery.verdict import Verdict
from support.discovery_field import (
    EXCHANGE,
    ORIGIN,
    ROUTING_KEY,
    Brokers,
    Diary,
    ears,
    publish,
    running,
    threads,
    wait_for_trace,
)
from support.waiting import wait_until

ADDRESS = "192.168.1.77"
NOT_FOUND = (
    "[192.168.1.77] e->consumer_test_complete() "
    "producer_post_and_wait->no_amqp_consumer_server_found"
)


def scout(brokers: Brokers, address: str = ADDRESS, **settings) -> RabbitConsumerScoutChart:
    settings = {"origin": ORIGIN, "timeout_s": 2.0, **settings}
    return RabbitConsumerScoutChart(address, ROUTING_KEY, EXCHANGE, probe=brokers, **settings)


def test_no_answer_at_the_address_gives_the_trace_of_the_ancestor() -> None:
    with running(scout(Brokers())) as chart:
        wait_for_trace(
            chart,
            "[192.168.1.77] e->start_at() top->producer_thread_engaged",
            "[192.168.1.77] e->try_to_connect_to_consumer() "
            "producer_thread_engaged->producer_post_and_wait",
            NOT_FOUND,
        )


def test_a_live_trace_prints_the_answer_after_the_last_step(capsys) -> None:
    with running(scout(Brokers(), live_trace=True)):
        out = [""]

        def printed() -> bool:
            out[0] += capsys.readouterr().out
            return "Payload" in out[0]

        wait_until(printed)
    lines = [line.partition("] ")[2] or line for line in out[0].splitlines() if line]
    assert lines[-2:] == [
        NOT_FOUND,
        (
            "AMQPConsumerCheckPayload(ip_address='192.168.1.77', result=False, "
            "routing_key='heya.man', exchange_name='miros.mesh.exchange', verdict='nothing')"
        ),
    ]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_answer_carries_the_verdict_and_only_ours_is_a_result(verdict: Verdict) -> None:
    brokers, diary = Brokers(), Diary()
    brokers.at[ADDRESS] = verdict
    with ears(AMQP_CONSUMER_CHECK) as heard, running(scout(brokers, observer=diary)):
        check = heard.wait_for(AMQP_CONSUMER_CHECK)
    assert check == AMQPConsumerCheckPayload(
        ADDRESS, verdict is Verdict.OURS, ROUTING_KEY, EXCHANGE, verdict, check.seconds, ORIGIN
    )
    assert diary.scouts == [("scout", ADDRESS, str(verdict))]


def test_a_broker_of_ours_ends_in_the_other_state() -> None:
    brokers = Brokers()
    brokers.ours(ADDRESS)
    with running(scout(brokers)) as chart:
        wait_until(lambda: chart.state_name == "amqp_consumer_server_found")


def test_a_search_is_refactored_by_an_event_as_the_ancestor_posted_it() -> None:
    brokers = Brokers()
    brokers.ours("192.168.1.78")
    with ears(AMQP_CONSUMER_CHECK) as heard, running(scout(brokers)) as chart:
        heard.wait_for(AMQP_CONSUMER_CHECK)
        search = {"ip_address": "192.168.1.78", "routing_key": "archer.bob", "exchange_name": "x"}

        chart.post_fifo(Event(signal=REFACTOR_SEARCH, payload=search))

        check = heard.wait_for(AMQP_CONSUMER_CHECK, 2)
    assert (check.ip_address, check.result, check.routing_key) == (
        "192.168.1.78",
        True,
        "archer.bob",
    )


def test_a_published_refactoring_reaches_the_scouts_of_its_node_only() -> None:
    brokers = Brokers()
    with (
        ears(AMQP_CONSUMER_CHECK) as heard,
        running(scout(brokers), scout(brokers, "10.0.0.9", origin="another-node")) as chart,
    ):
        heard.wait_for(AMQP_CONSUMER_CHECK)
        wait_until(lambda: brokers.times("10.0.0.9") == 1)
        search = RefactorSearchPayload("192.168.1.78", ROUTING_KEY, EXCHANGE, ORIGIN)

        publish(chart, REFACTOR_SEARCH, search)

        heard.wait_for(AMQP_CONSUMER_CHECK, 2)
    assert brokers.asked[2:] == ["192.168.1.78"]
    assert set(brokers.asked[:2]) == {ADDRESS, "10.0.0.9"}


def test_a_broker_that_refused_our_credentials_is_not_asked_again() -> None:
    brokers, refusals = Brokers(), RefusedBrokers()
    brokers.at[ADDRESS] = Verdict.CREDENTIALS
    with ears(AMQP_CONSUMER_CHECK) as heard:
        for count in (1, 2):
            with running(scout(brokers, refusals=refusals)):
                assert heard.wait_for(AMQP_CONSUMER_CHECK, count).verdict is Verdict.CREDENTIALS
    assert brokers.asked == [ADDRESS]


def test_a_probe_that_raises_is_a_verdict_and_not_the_end_of_the_chart(caplog) -> None:
    brokers = Brokers()
    brokers.at[ADDRESS] = RuntimeError("the probe has a fault")
    with ears(AMQP_CONSUMER_CHECK) as heard, running(scout(brokers)) as chart:
        assert heard.wait_for(AMQP_CONSUMER_CHECK).verdict is Verdict.FAILED
        assert chart.thread.is_alive()
    assert "the probe of 192.168.1.77:5672 raised" in caplog.text


def test_a_text_that_is_no_address_counts_as_no_answer_and_is_not_quoted(caplog) -> None:
    brokers = Brokers()
    with (
        ears(AMQP_CONSUMER_CHECK) as heard,
        running(scout(brokers, "amqp://bob:dobbs@192.168.1.77")),
    ):
        assert heard.wait_for(AMQP_CONSUMER_CHECK).verdict is Verdict.NOTHING
    assert brokers.asked == []
    assert "dobbs" not in caplog.text


def test_a_probe_that_does_not_keep_to_its_time_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr("miros_mesh.discovery.scout._GRACE_S", 0.0)
    released = threading.Event()

    class Stuck:
        def probe(self, *_: object) -> Verdict:
            released.wait(10)
            return Verdict.OURS

    with ears(AMQP_CONSUMER_CHECK) as heard, running(scout(Stuck(), timeout_s=0.05)) as chart:
        assert heard.wait_for(AMQP_CONSUMER_CHECK).verdict is Verdict.FAILED
        released.set()
        wait_until(lambda: not len(chart.queue))
        assert len(heard.of(AMQP_CONSUMER_CHECK)) == 1


def test_a_probe_that_waits_for_a_free_thread_is_not_given_up(monkeypatch) -> None:
    monkeypatch.setattr("miros_mesh.discovery.scout._GRACE_S", 0.0)
    monkeypatch.setattr("miros_mesh.discovery.threads.NETWORK_THREADS", 1)
    brokers = Brokers()
    brokers.ours(ADDRESS)
    free = threading.Event()
    with ears(AMQP_CONSUMER_CHECK) as heard, threads() as team:
        team.network.run(lambda: free.wait(10), lambda _: None)
        with running(scout(brokers, threads=team, timeout_s=0.02)) as chart:
            wait_until(lambda: "probe_overdue:producer_post_and_wait" in chart.spy())
            # How quick it is then is another matter.
            chart._timeout_s = 10.0
            free.set()
            assert heard.wait_for(AMQP_CONSUMER_CHECK).verdict is Verdict.OURS
