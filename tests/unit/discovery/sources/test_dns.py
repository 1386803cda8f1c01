"""`DnsChart`: names looked up again and again, addresses that come and go."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from miros_mesh.address import Endpoint
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY
from miros_mesh.discovery.sources.dns import DnsChart
from miros_mesh.discovery.verdict import Verdict
from support.discovery_field import (
    EXCHANGE,
    ORIGIN,
    ROUTING_KEY,
    Brokers,
    Diary,
    ears,
    running,
    scouts,
    trace_of,
)
from support.waiting import wait_until

SERVICE = "rabbit.mesh.svc"


class Zone:
    """A name service of which everything is known."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names: dict[str, Sequence[str]] = {SERVICE: (), **names}
        self.asked = 0
        self.hold: threading.Event | None = None

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        self.asked += 1
        if self.hold and name == SERVICE:
            self.hold.wait(5)
        if name not in self.names:
            raise OSError(f"{name} does not exist")
        return [Endpoint(host, default_port) for host in self.names[name]]


def watch(zone: Zone, brokers: Brokers, *names: str, **settings) -> DnsChart:
    return DnsChart(
        ROUTING_KEY,
        EXCHANGE,
        names=names or (SERVICE,),
        send_scout=scouts(brokers, origin=ORIGIN),
        name_service=zone,
        origin=ORIGIN,
        **{"interval_s": 0.02, "recheck_s": 0, **settings},
    )


def test_what_a_name_stands_for_is_scouted_and_told() -> None:
    zone, brokers, diary = Zone(), Brokers(), Diary()
    zone.names[SERVICE] = ("10.0.0.1", "10.0.0.2")
    brokers.ours("10.0.0.1")
    brokers.at["10.0.0.2"] = Verdict.OTHER_KEY
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(watch(zone, brokers, interval_s=600, observer=diary)) as chart,
    ):
        # Not the last one: miros may turn round two that are published at once.
        (discovery,) = wait_until(lambda: [d for d in heard.of(CONNECTION_DISCOVERY) if d.dead])
        wait_until(lambda: diary.searches)
        wait_until(lambda: len(trace_of(chart)) == 4)
        assert trace_of(chart) == [
            "[dns_chart] e->start_at() top->watch_names",
            "[dns_chart] e->look_up() watch_names->look_up_names",
            "[dns_chart] e->names_resolved() look_up_names->scout_addresses",
            "[dns_chart] e->network_evaluated() scout_addresses->watch_names",
        ]
    assert (discovery.hosts, discovery.dead) == (("10.0.0.1:5672",), ("10.0.0.2:5672",))
    assert discovery.dispatcher == "dns_chart"
    assert diary.searches == [("dns", 1)]


def test_an_address_that_comes_is_found_and_one_that_goes_is_dead() -> None:
    zone, brokers = Zone(), Brokers()
    brokers.ours("10.0.0.1", "10.0.0.2")
    zone.names[SERVICE] = ("10.0.0.1",)
    with ears(CONNECTION_DISCOVERY) as heard, running(watch(zone, brokers)):
        wait_until(lambda: heard.of(CONNECTION_DISCOVERY))
        zone.names[SERVICE] = ("10.0.0.2",)
        wait_until(
            lambda: (
                (heard.of(CONNECTION_DISCOVERY)[-1].hosts == ("10.0.0.2:5672",))
                and heard.of(CONNECTION_DISCOVERY)[-1].dead == ("10.0.0.1:5672",)
            )
        )
        zone.names[SERVICE] = ("10.0.0.1", "10.0.0.2")
        wait_until(lambda: len(heard.of(CONNECTION_DISCOVERY)[-1].hosts) == 2)
        assert heard.of(CONNECTION_DISCOVERY)[-1].dead == ()


def test_who_is_ours_is_not_asked_again_at_each_look_up_and_stays_alive() -> None:
    zone, brokers = Zone(), Brokers()
    zone.names[SERVICE] = ("10.0.0.1", "10.0.0.2")
    brokers.ours("10.0.0.1")
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(watch(zone, brokers, recheck_s=600)),
    ):
        wait_until(lambda: brokers.times("10.0.0.2") >= 3)
        last = heard.of(CONNECTION_DISCOVERY)[-1]
    assert brokers.times("10.0.0.1") == 1
    assert last.hosts == ("10.0.0.1:5672",)


def test_a_name_that_does_not_exist_harms_no_other_and_is_said_once(caplog) -> None:
    zone, brokers = Zone(), Brokers()
    zone.names[SERVICE] = ("10.0.0.1",)
    brokers.ours("10.0.0.1")
    with ears(CONNECTION_DISCOVERY) as heard, running(watch(zone, brokers, "misspelt", SERVICE)):
        wait_until(lambda: len(heard.of(CONNECTION_DISCOVERY)) >= 3)
    assert heard.of(CONNECTION_DISCOVERY)[-1].hosts == ("10.0.0.1:5672",)
    assert caplog.text.count("the look-up of misspelt failed") == 1


def test_a_look_up_that_takes_long_blocks_no_other() -> None:
    zone = Zone()
    zone.hold = threading.Event()
    with ears(CONNECTION_DISCOVERY) as heard, running(watch(zone, Brokers())) as chart:
        wait_until(lambda: zone.asked)
        chart.tell("anything")
        wait_until(lambda: "anything:look_up_names" in chart.spy())
        zone.hold.set()
        heard.wait_for(CONNECTION_DISCOVERY)


def test_without_a_name_no_host_is_found() -> None:
    with ears(CONNECTION_DISCOVERY) as heard, running(watch(Zone(), Brokers(), SERVICE)):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ()
