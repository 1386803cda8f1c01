"""The kernel's tables of neighbours: the hosts of the local network that it has spoken with.

Nothing is sent to the network. The IPv4 table is a file; the IPv6 one is asked for over netlink.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from miros_mesh.discovery.addresses import is_rfc_1918
from miros_mesh.systems import HAS_NETLINK

ARP_TABLE: Final = Path("/proc/net/arp")
# An entry of that table whose hardware address is known: `ATF_COM` of linux/if_arp.h.
_COMPLETE: Final = 0x2

# From linux/rtnetlink.h, linux/netlink.h and linux/neighbour.h.
_RTM_NEWNEIGH: Final = 28
_RTM_GETNEIGH: Final = 30
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
# `NLM_F_REQUEST | NLM_F_DUMP`: the whole table, in as many messages as it takes.
_REQUEST_DUMP: Final = 0x1 | 0x300
# The attribute with the neighbour's own address.
_NDA_DST: Final = 1
# Those that have answered: reachable, stale, delay, probe, permanent.
_ANSWERED: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_NETLINK_ROUTE: Final = 0

# `nlmsghdr`, `ndmsg` and `rtattr`, in the byte order of this host.
_HEADER: Final = struct.Struct("=IHHII")
_NEIGHBOUR: Final = struct.Struct("=BBHiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_IPV6_BYTES: Final = 16
_BUFFER_BYTES: Final = 65_536
# Where the kernel answers, it does so before `send` returns.
_TIMEOUT_S: Final = 1.0


def ipv4_neighbours(table: Path = ARP_TABLE) -> list[IPv4Address]:
    """Return the IPv4 hosts that the kernel has spoken with lately; private ranges only.

    None where the table cannot be read, as on any system but Linux.
    """
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    return [address for line in lines if (address := _neighbour(line.split()))]


def _neighbour(fields: list[str]) -> IPv4Address | None:
    try:
        # The columns are address, hardware type, flags, and what is not needed here.
        address, flags = IPv4Address(fields[0]), int(fields[2], 16)
    except (IndexError, ValueError):
        return None
    return address if flags & _COMPLETE and is_rfc_1918(address) else None


def ipv6_neighbours() -> list[str]:
    """Return the IPv6 hosts that the kernel has spoken with lately.

    Link-local ones carry their interface: `fe80::7%eth0`. None where the kernel does not answer, as
    on any system but Linux.
    """
    if not HAS_NETLINK:
        return []
    with contextlib.suppress(OSError, struct.error):
        return list(dict.fromkeys(_ask()))
    return []


def _ask() -> Iterator[str]:
    body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0, 0, 0)
    question = _HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, _REQUEST_DUMP, 1, 0) + body
    # Asking for this table needs no privilege; changing it would.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.bind((0, 0))
        kernel.send(question)
        while True:
            for kind, message in _messages(kernel.recv(_BUFFER_BYTES)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if kind == _RTM_NEWNEIGH:
                    yield from parse_neighbour(message)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        # A length that is wrong would never let the loop end.
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def parse_neighbour(message: bytes) -> Iterator[str]:
    """Yield the address in one entry of the kernel's table, if its host has answered."""
    _, _, _, interface, state, _, _ = _NEIGHBOUR.unpack_from(message)
    rest = message[_NEIGHBOUR.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            return
        value = rest[_ATTRIBUTE.size : length]
        if kind == _NDA_DST and state & _ANSWERED and len(value) == _IPV6_BYTES:
            yield _text(value, interface)
        rest = rest[_aligned(length) :]


def _text(raw: bytes, interface: int) -> str:
    address = socket.inet_ntop(socket.AF_INET6, raw)
    # Link-local addresses begin with fe80::/64 (RFC 4291). Without the interface such an address
    # cannot be connected to.
    if address.startswith("fe8"):
        return f"{address}%{socket.if_indextoname(interface)}"
    return address


def _aligned(length: int) -> int:
    # `NLMSG_ALIGN` and `RTA_ALIGN`: both round up to 4 bytes.
    return (length + 3) & ~3
