"""A name server on loopback that knows a few services."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset


class NameServer:
    """Answers with these SRV records and no others: `{"_amqp._tcp.x.": ["0 0 5672 b."]}`."""

    def __init__(self, services: Mapping[str, Sequence[str]], port: int = 0) -> None:
        class Answer(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                query = dns.message.from_wire(data)
                response = dns.message.make_response(query)
                name = query.question[0].name.to_text()
                if name in services:
                    records = services[name]
                    response.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *records))
                else:
                    response.set_rcode(dns.rcode.NXDOMAIN)
                sock.sendto(response.to_wire(), self.client_address)

        self._server = socketserver.UDPServer(("127.0.0.1", port), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def name_server(**records: list[str]) -> Iterator[dns.resolver.Resolver]:
    """A resolver that asks a server with these SRV records and no others."""
    server = NameServer(records)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.port
    try:
        yield resolver
    finally:
        server.close()
