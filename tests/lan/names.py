"""A name server for one host, with the services that a test gives it and no others."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Mapping, Sequence

import dns.message
import dns.rcode
import dns.rrset


class Names:
    """Answers on the loopback interface, port 53: `{"_amqp._tcp.x.": ["0 0 5672 b."]}`."""

    def __init__(self, services: Mapping[str, Sequence[str]]) -> None:
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

        self._server = socketserver.UDPServer(("127.0.0.1", 53), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
