"""Where a broker may be: a host and a port, without anything secret."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from miros_mesh.address import BrokerAddress, is_port
from miros_mesh.errors import AddressError

_LONGEST_HOST: Final = 255


@dataclass(frozen=True, order=True)
class Endpoint:
    """A host, by name or address, and the port at which its broker listens."""

    host: str
    port: int

    def __post_init__(self) -> None:
        # The rules for hosts and ports are those of every other broker address.
        if len(self.host) > _LONGEST_HOST:
            raise AddressError(f"a host has at most {_LONGEST_HOST} characters")
        object.__setattr__(self, "host", BrokerAddress("amqp", self.host, self.port).host)

    @classmethod
    def parse(cls, text: object, default_port: int) -> Endpoint:
        """Read `host`, `host:port`, `fd00::1` or `[fd00::1]:port`; raises `AddressError`."""
        if not isinstance(text, str):
            raise AddressError(f"a host is a text, not {type(text).__name__}")
        host, port = _split(text.strip())
        if port and not (port.isascii() and port.isdigit() and is_port(int(port))):
            # Not quoted: what stands there may be a URL with a password.
            raise AddressError("a host has a port that is no number from 1 to 65535")
        return cls(host, int(port) if port else default_port)

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The host as an address; None for a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def url(self) -> str:
        """The endpoint as an AMQP URL that tells nobody's user or password."""
        return f"amqp://{self}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        return (host if closed else ""), port.removeprefix(":")
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, ""
