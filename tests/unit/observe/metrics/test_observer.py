"""MetricsObserver against a real registry, judged by the text that Prometheus would scrape."""

from __future__ import annotations

import inspect

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from miros_mesh.errors import MetricNamesTakenError
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observer import STOPPED, Observer, Observers
from support.scraped import scraped

PEER = "amqp://peter@192.0.2.7:5672//"


def test_every_name_has_the_prefix_and_every_hook_is_counted(registry: CollectorRegistry) -> None:
    observer = MetricsObserver(registry)
    hooks = {name for name in vars(Observer) if not name.startswith("_")}

    # Those of gauges that are looked at when Prometheus asks.
    looked_at = {"subscribed", "hearing", "deaf"}
    assert hooks - looked_at <= vars(type(observer)).keys()
    assert all(family.name.startswith("miros_mesh_") for family in registry.collect())


def test_a_transmitted_event_is_counted_for_its_network_and_chart(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.transmitted(network="mesh", chart="door")
    observer.transmitted(network="mesh", chart="door")

    assert scraped(registry)["transmitted_events_total/door/mesh"] == 2


def test_a_confirmed_frame_is_counted_with_its_events_bytes_and_time(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    for _ in range(2):
        observer.published(network="mesh", peer=PEER, events=20, size_bytes=4000, seconds=0.003)

    samples = scraped(registry)
    assert samples[f"confirmed_frames_total/mesh/{PEER}"] == 2
    assert samples[f"confirmed_events_total/mesh/{PEER}"] == 40
    assert samples[f"confirmed_bytes_total/mesh/{PEER}"] == 8000
    assert samples["confirm_seconds_sum/mesh"] == pytest.approx(0.006)
    assert samples["confirm_seconds_bucket/0.0025/mesh"] == 0
    assert samples["confirm_seconds_bucket/0.005/mesh"] == 2


def test_a_received_frame_is_counted_with_its_events_and_bytes(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.received(network="snoop_trace", events=7, size_bytes=900)

    samples = scraped(registry)
    assert samples["received_frames_total/snoop_trace"] == 1
    assert samples["received_events_total/snoop_trace"] == 7
    assert samples["received_bytes_total/snoop_trace"] == 900


def test_an_event_in_a_fifo_is_counted_with_the_time_of_its_journey(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.handed_over(chart="door", seconds=0.0012)

    samples = scraped(registry)
    assert samples["handed_over_events_total/door"] == 1
    assert samples["delivery_seconds_count"] == 1
    assert samples["delivery_seconds_bucket/0.0025"] == 1


def test_a_sender_whose_clock_is_ahead_makes_no_negative_time(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.handed_over(chart="door", seconds=-3.0)

    assert scraped(registry)["delivery_seconds_sum"] == 0


def test_drops_are_counted_by_reason(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.dropped(network="mesh", reason="malformed", events=1)
    observer.dropped(network="mesh", reason="outbox_overflow", events=30)

    samples = scraped(registry)
    assert samples["dropped_events_total/mesh/malformed"] == 1
    assert samples["dropped_events_total/mesh/outbox_overflow"] == 30


def test_an_overflow_is_counted_for_its_network_and_peer(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.overflowed(peer=PEER, network="mesh", events=30)

    assert scraped(registry)[f"overflowed_events_total/mesh/{PEER}"] == 30


def test_a_request_is_counted_by_its_end_and_only_an_answer_has_a_round_trip(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.request_ended(chart="door", outcome="answered", seconds=0.004)
    observer.request_ended(chart="door", outcome="timed_out", seconds=30.0)

    samples = scraped(registry)
    assert samples["requests_ended_total/door/answered"] == 1
    assert samples["requests_ended_total/door/timed_out"] == 1
    assert samples["round_trip_seconds_count"] == 1
    assert samples["round_trip_seconds_bucket/0.005"] == 1


def test_a_gap_is_counted_with_its_width_and_without_its_sender(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.gap(network="mesh", sender="node-7/door", missing=5)

    samples = scraped(registry)
    assert samples["gaps_total/mesh"] == 1
    assert samples["missing_events_total/mesh"] == 5
    assert b"node-7" not in generate_latest(registry)


def test_a_peer_shows_whether_it_is_connected(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.peer_up(peer=PEER)
    observer.peer_up(peer=PEER)
    assert scraped(registry)[f"peer_connected/{PEER}"] == 1

    observer.peer_down(peer=PEER, reason="ConnectionLostError")
    samples = scraped(registry)
    assert samples[f"peer_connected/{PEER}"] == 0
    assert samples["peer_losses_total/ConnectionLostError"] == 1


def test_a_peer_that_was_never_connected_shows_as_absent(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.peer_down(peer=PEER, reason="BrokerUnreachableError")

    assert scraped(registry)[f"peer_connected/{PEER}"] == 0


def test_a_home_broker_that_was_lost_is_counted_by_its_reason(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.unsubscribed(broker=PEER, reason="heartbeat")
    observer.unsubscribed(broker=PEER, reason=STOPPED)

    assert scraped(registry)["subscription_losses_total/heartbeat"] == 1
    assert "subscription_losses_total/stopped" not in scraped(registry)


def test_each_attempt_to_connect_that_fails_is_counted_by_its_reason(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    for _ in range(3):
        observer.unreached(peer=PEER, reason="credentials")

    assert scraped(registry)[f"connection_failures_total/{PEER}/credentials"] == 3


def test_a_dead_chart_is_counted_and_its_error_is_not_shown(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.chart_died(chart="door", error=ValueError("hunter2"))

    observer.chart_revived(chart="door")

    assert scraped(registry)["chart_deaths_total/door"] == 1
    assert scraped(registry)["chart_revivals_total/door"] == 1
    assert b"hunter2" not in generate_latest(registry)


def test_a_chart_that_said_goodbye_is_counted_without_its_name(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.chart_left(node="node-7", chart="window")

    assert scraped(registry)["charts_left_total"] == 1
    assert b"window" not in generate_latest(registry)


def test_values_from_outside_cannot_grow_the_number_of_series(registry: CollectorRegistry) -> None:
    observer = MetricsObserver(registry, max_charts=5, max_brokers=5)

    sizes = []
    for batch in range(2):
        for number in range(200):
            _everything(observer, f"{batch}-{number}")
        sizes.append(len(scraped(registry)))

    assert sizes[0] == sizes[1]
    assert sizes[0] < 2000


def test_it_works_among_other_observers(registry: CollectorRegistry) -> None:
    _everything(Observers(Observer(), MetricsObserver(registry)), "x")

    assert scraped(registry)["handed_over_events_total/x"] == 1


def _everything(observer: Observer, text: str) -> None:
    """Call each hook with `text` wherever a text is asked for."""
    values = {
        "str": text, "int": 1, "float": 0.1, "bool": True, "BaseException": ValueError(text)
    }  # fmt: skip
    for name in vars(Observer):
        if not name.startswith("_"):
            asked = inspect.signature(getattr(Observer, name)).parameters.values()
            facts = {p.name: values[p.annotation] for p in asked if p.name != "self"}
            getattr(observer, name)(**facts)


def test_a_second_user_of_a_registry_is_told_to_share_and_takes_nothing(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    before = generate_latest(registry)

    with pytest.raises(MetricNamesTakenError, match="hand the first MetricsObserver to all nodes"):
        MetricsObserver(registry)

    assert generate_latest(registry) == before


def test_a_foreign_metric_of_our_name_leaves_none_of_ours(registry: CollectorRegistry) -> None:
    foreign = Gauge("miros_mesh_outbox_events", "Somebody else's.", registry=registry)

    with pytest.raises(MetricNamesTakenError):
        MetricsObserver(registry)

    registry.unregister(foreign)
    MetricsObserver(registry)


def test_the_sizes_of_frames_are_told_apart_by_direction(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.published(network="mesh", peer=PEER, events=1, size_bytes=300, seconds=0.1)
    observer.received(network="mesh", events=1, size_bytes=5000)

    samples = scraped(registry)
    assert samples["frame_bytes_bucket/confirmed/1024.0/mesh"] == 1
    assert samples["frame_bytes_bucket/received/4096.0/mesh"] == 0
    assert samples["frame_bytes_sum/received/mesh"] == 5000


def test_a_peer_that_broke_and_came_back_is_a_reconnect(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    name = f"peer_reconnects_total/{PEER}"
    observer.peer_down(peer=PEER, reason="unreachable")
    observer.peer_up(peer=PEER)
    assert name not in scraped(registry)

    observer.peer_down(peer=PEER, reason="connection_lost")
    observer.peer_down(peer=PEER, reason="unreachable")
    observer.peer_up(peer=PEER)
    assert scraped(registry)[name] == 1


def test_a_peer_that_was_stopped_makes_no_reconnect(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.peer_up(peer=PEER)
    observer.peer_down(peer=PEER, reason=STOPPED)
    observer.peer_up(peer=PEER)

    assert f"peer_reconnects_total/{PEER}" not in scraped(registry)


def test_each_block_is_counted(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    for _ in range(2):
        observer.blocked(peer=PEER)
        observer.unblocked(peer=PEER)

    assert scraped(registry)[f"peer_blocks_total/{PEER}"] == 2
