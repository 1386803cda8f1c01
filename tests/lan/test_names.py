"""Hosts that are found by their names, through a node."""

from __future__ import annotations

from lan.hosts import A, B, C, Street, hear

SERVICE = "_amqp._tcp.rabbit.example"


def test_the_names_of_a_hosts_file_are_looked_up(street: Street) -> None:
    bob, cyd = street.start(B, C, discovery="manual")

    ada = street.start(A, discovery="dns", discovery_dns_names=(B, C))[0]

    ada.wait_up(street.addresses(B, C))
    hear(ada, [bob, cyd], "word")
    assert {fact["source"] for fact in ada.facts("scouted")} == {"dns"}


def test_the_services_of_a_name_server_are_looked_up(street: Street) -> None:
    # Given a name server with a record for each of two brokers
    records = {f"{SERVICE}.": [f"0 0 5672 {B}.", f"0 0 5672 {C}."]}
    street.lan.residents[A].do("serve_names", services=records)
    try:
        bob, cyd = street.start(B, C, discovery="manual")
        ada = street.start(A, discovery="dns", discovery_dns_names=(SERVICE,))[0]
        ada.wait_up(street.addresses(B, C))
        hear(ada, [bob, cyd], "word")
    finally:
        street.lan.residents[A].do("serve_no_names")


def test_of_a_name_that_stands_for_every_host_the_own_broker_is_no_other(street: Street) -> None:
    # As the headless service of deploy/kubernetes, which has the address of each pod
    hosts = (A, B, C)

    nodes = street.start(*hosts, discovery="dns", discovery_dns_names=hosts)

    for node in nodes:
        node.wait_up(street.addresses(*(host for host in hosts if host != node.host)))
    ada, *others = nodes
    hear(ada, others, "word")
