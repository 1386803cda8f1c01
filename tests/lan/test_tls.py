"""Hosts that find each other by TLS, with certificates of an authority of their own."""

from __future__ import annotations

import json

from lan.hosts import A, B, C, Street, all_hear_each_other
from support.waiting import wait_until


def test_a_search_by_tls_finds_the_others_and_speaks_to_no_port_without(street: Street) -> None:
    # Given hosts whose brokers listen with and without TLS
    settings = {"rabbit_tls": True, "broker_ca_file": str(street.lan.authority.file)}
    street.sniff(A)
    # When a node on each of them searches the local network
    nodes = street.start(A, B, C, **settings)
    # Then they meet
    street.meet(*nodes)
    all_hear_each_other(nodes)
    # And whom they looked for, they looked for at the port for TLS
    sent = [said for said in street.sniffed(A) if said.startswith("syn")]
    assert {f"syn {address}:5671" for address in street.addresses(B, C)} <= set(sent)
    assert {said.rpartition(":")[2] for said in sent} == {"5671"}
    # And what they found is remembered for searches by TLS alone
    wait_until(lambda: street.cache(A).exists())
    (scope,) = json.loads(street.cache(A).read_text())["searches"]
    assert " 5671 " in scope
