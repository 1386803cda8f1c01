"""Looks names up: A and AAAA through the system's resolver, SRV through dnspython."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Sequence
from typing import Any, Final

from miros_mesh.address import Endpoint

# As long as one try of glibc's resolver (`timeout` of resolv.conf(5)); with its second try and a
# second server it may take four times that, on a thread that is not waited for.
LOOKUP_TIMEOUT_S: Final = 5.0
NO_DNSPYTHON: Final = (
    "SRV records need dnspython, which the standard library cannot replace: "
    "pip install 'miros-mesh[srv]'; or give the name without its _service._proto words"
)


def is_srv(name: str) -> bool:
    """Return whether a name is that of a service: `_amqp._tcp.example.org`."""
    return name.startswith("_") and "._" in name


class SystemNames:
    """The `NameService` of this host; for SRV with a dnspython `resolver`, or the system's one."""

    def __init__(self, resolver: Any = None) -> None:
        self._resolver = resolver

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        """Return every endpoint of a name, sorted. Raises `OSError` when the look-up fails."""
        if is_srv(name):
            return self._services(name)
        named = Endpoint.parse(name, default_port)
        # With a type, since each address would come once for each of three types otherwise.
        found = socket.getaddrinfo(named.host, named.port, type=socket.SOCK_STREAM)
        return sorted({Endpoint(str(address[0]), named.port) for *_, address in found})

    def _services(self, name: str) -> list[Endpoint]:
        resolver = self._resolver or _system_resolver()
        # dnspython is an extra, imported only where a name asks for SRV records.
        exception = importlib.import_module("dns.exception").DNSException
        try:
            answer = resolver.resolve(name, "SRV", lifetime=LOOKUP_TIMEOUT_S)
        except exception as error:
            raise OSError(f"no SRV records of {name}: {type(error).__name__}") from error
        # Priority and weight are not used: a node publishes to every broker of its mesh.
        targets = {Endpoint(str(each.target).rstrip("."), each.port) for each in answer}
        return sorted({found for each in targets for found in self.endpoints(str(each), each.port)})


def _system_resolver() -> Any:
    try:
        return importlib.import_module("dns.resolver").Resolver()
    except ImportError as error:
        raise OSError(NO_DNSPYTHON) from error
