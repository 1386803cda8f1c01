"""What a host sends on its cable: whom it asks for, and to whom it connects."""

from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_EVERY_PROTOCOL: Final = 0x0003
_OUTGOING: Final = 4
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_ARP_REQUEST: Final = 1
_TCP, _ICMPV6 = 6, 58
_SYN, _ACK = 0x02, 0x10
_NEIGHBOUR_SOLICITATION: Final = 135
# A kernel with an IPv6 address looks for routers and tells of its groups, whatever runs on it.
_KERNELS_OWN: Final = frozenset({133, 136, 143})
_LOOK_UP_S: Final = 0.05


class Sniffer:
    """Notes, from now on, each ARP request, neighbour solicitation and first packet of TCP."""

    def __init__(self, interface: str) -> None:
        self._seen: list[str] = []
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)
        )
        self._socket.bind((interface, 0))
        self._socket.settimeout(_LOOK_UP_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[str]:
        """Texts like `arp 10.0.0.7`, `syn 10.0.0.7:5672`, `ns fd00::7`, `other 10.0.0.255`."""
        return list(self._seen)

    def close(self) -> None:
        """Note nothing more."""
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                frame, about = self._socket.recvfrom(256)
            except TimeoutError:
                continue
            if about[2] == _OUTGOING and (said := said_by(frame)):
                self._seen.append(said)


def said_by(frame: bytes) -> str | None:
    """What a frame asks for; None for one that belongs to a connection, or is an answer."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    if kind == _ARP:
        (operation,) = struct.unpack_from("!H", packet, 6)
        return f"arp {IPv4Address(packet[24:28])}" if operation == _ARP_REQUEST else None
    if kind == _IPV4:
        rest = packet[(packet[0] & 0xF) * 4 :]
        return _first_packet(packet[9], str(IPv4Address(packet[16:20])), rest)
    if kind == _IPV6:
        return _first_packet(packet[6], str(IPv6Address(packet[24:40])), packet[40:])
    return f"other {kind:#06x}"


def _first_packet(protocol: int, to: str, rest: bytes) -> str | None:
    if protocol == _TCP:
        (port,) = struct.unpack_from("!H", rest, 2)
        return f"syn {to}:{port}" if rest[13] & (_SYN | _ACK) == _SYN else None
    if ":" in to and protocol in (0, _ICMPV6):
        # The groups' packets begin with an option header.
        kind = rest[8] if protocol == 0 else rest[0]
        if kind == _NEIGHBOUR_SOLICITATION:
            return f"ns {IPv6Address(rest[8:24])}"
        if kind in _KERNELS_OWN:
            return None
    return f"other {to}"
