"""No test looks at a network that it did not make: what would, raises before a packet is sent.

A node with `rabbit_user=` searches the local network, unless `MIROS_MESH_LAN=off`. So that word
stays in the environment of the test run and of the programs that it starts. Only what runs inside
of a `namespaces.Network`, which leads nowhere, may do without it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

VARIABLE: Final = "MIROS_MESH_LAN"
OFF: Final = "off"
_ENTERS_NAMESPACE: Final = ("nsenter", "unshare")
_SENDING: Final = frozenset({"socket.connect", "socket.sendto"})


class LanGuardError(BaseException):
    """Not an `Exception`, which the code under test may take for a broker that is away."""


def install() -> None:
    """Switch the local network off, for good: an audit hook cannot be taken away again."""
    os.environ[VARIABLE] = OFF
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _SENDING:
        _check_address(*arguments[:2])
    elif event == "os.putenv":
        _check_variable(*arguments)
    elif event == "os.unsetenv":
        _check_variable(arguments[0], b"")
    elif event == "subprocess.Popen":
        _check_program(arguments[1], arguments[3])


def _check_address(sock: socket.socket, address: Any) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return
    try:
        here = ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        here = address[0] == "localhost"
    if not here:
        raise LanGuardError(f"a test speaks to {address[0]}, which is not this machine")


def _check_variable(name: bytes, value: bytes) -> None:
    if os.fsdecode(name) == VARIABLE and os.fsdecode(value).strip().lower() != OFF:
        raise LanGuardError(f"{VARIABLE} stays {OFF} outside of a network that a test made")


def _check_program(argv: Any, environment: Mapping[Any, Any] | None) -> None:
    if environment is None or (argv and os.fsdecode(argv[0]) in _ENTERS_NAMESPACE):
        return
    if environment.get(VARIABLE) != OFF:
        raise LanGuardError(f"a program is started without {VARIABLE}={OFF}")
