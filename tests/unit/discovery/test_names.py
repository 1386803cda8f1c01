"""Names to endpoints; SRV records from a name server of this test's own, on loopback."""

from __future__ import annotations

import importlib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.resolver
import dns.rrset
import pytest

from miros_mesh.discovery import Endpoint
from miros_mesh.discovery.names import SystemNames, is_srv


@contextmanager
def name_server(**records: list[str]) -> Iterator[dns.resolver.Resolver]:
    """A resolver that asks a server with these SRV records and no others."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            query = dns.message.from_wire(data)
            response = dns.message.make_response(query)
            name = query.question[0].name.to_text()
            if name in records:
                response.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *records[name]))
            else:
                response.set_rcode(3)
            sock.sendto(response.to_wire(), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = server.server_address[1]
        try:
            yield resolver
        finally:
            server.shutdown()
            thread.join()


def test_a_name_gives_its_addresses_with_the_brokers_port() -> None:
    assert Endpoint("127.0.0.1", 5672) in SystemNames().endpoints("localhost", 5672)


def test_an_address_gives_itself() -> None:
    assert list(SystemNames().endpoints("127.0.7.1:5673", 5672)) == [Endpoint("127.0.7.1", 5673)]


def test_a_service_gives_the_targets_and_ports_of_its_records() -> None:
    service = "_amqp._tcp.rabbit.example."
    records = {service: ["0 0 5673 127.0.7.1.", "10 5 5674 127.0.7.2."]}
    with name_server(**records) as resolver:
        found = SystemNames(resolver).endpoints(service, 5672)
    assert list(found) == [Endpoint("127.0.7.1", 5673), Endpoint("127.0.7.2", 5674)]


def test_a_service_that_does_not_exist_cannot_be_known_now() -> None:
    with name_server() as resolver, pytest.raises(OSError, match="no SRV records"):
        SystemNames(resolver).endpoints("_amqp._tcp.nowhere.example.", 5672)


def test_without_dnspython_a_service_says_what_to_install(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OSError, match=r"miros-mesh\[srv\]"):
        SystemNames().endpoints("_amqp._tcp.rabbit.example", 5672)


@pytest.mark.parametrize(
    ("name", "srv"), [("_amqp._tcp.x.org", True), ("x.org", False), ("_dmarc.x.org", False)]
)
def test_a_service_is_told_from_a_name(name: str, srv: bool) -> None:
    assert is_srv(name) is srv
