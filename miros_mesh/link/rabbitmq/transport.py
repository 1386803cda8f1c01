"""Kombu's py-amqp transport, made fit for brokers that hang and for ports where none is."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

from kombu.transport import pyamqp

from miros_mesh.link.rabbitmq.deadline import Deadline
from miros_mesh.link.rabbitmq.frames import cautious_frame_handler
from miros_mesh.lookups import Lookups

_METHOD: Final = 1
# A server's greeting tells its properties, and has less than a thousand bytes.
_LARGEST_GREETING_BYTES: Final = 64 * 1024


class CautiousConnection(pyamqp.Connection):
    """A py-amqp connection that believes nobody and leaves nothing open.

    With a `deadline` it is cut at that moment, whatever it is doing; with `lookups` it waits no
    longer for the address of a name than for a connection.
    """

    def __init__(
        self, *, deadline: Deadline | None = None, lookups: Lookups | None = None, **options: Any
    ) -> None:
        super().__init__(**options, frame_handler=cautious_frame_handler)
        self._deadline = deadline
        self._lookups = lookups

    def connect(self, callback: Any = None) -> Any:
        """Connect; py-amqp itself closes the socket after some errors only."""
        if self._deadline:
            self._deadline.watch(lambda: getattr(self._transport, "sock", None))
        try:
            return super().connect(callback)
        except Exception:
            self.collect()
            raise

    def Transport(self, *arguments: Any, **options: Any) -> Any:  # noqa: N802 - py-amqp's name
        """The socket, with an eye on what it reads first."""
        transport = super().Transport(*arguments, **options)
        read = transport._read  # noqa: SLF001 - the one place that both kinds of socket share

        def read_first(size: int, initial: bool = False) -> bytes:
            data: bytes = read(size, initial)
            if not initial:
                return data
            transport._read = read  # noqa: SLF001
            kind, channel, greeting_bytes = struct.unpack(">BHI", data)
            # py-amqp would wait for as many bytes as a stranger's first words happen to say.
            if (kind, channel) != (_METHOD, 0) or greeting_bytes > _LARGEST_GREETING_BYTES:
                raise ValueError("the first words are no greeting of AMQP")
            return data

        transport._read = read_first  # noqa: SLF001
        if self._lookups:
            transport._connect = self._dialler(transport, self._lookups)  # noqa: SLF001
        return transport

    def _dialler(self, transport: Any, lookups: Lookups) -> Any:
        """What connects in place of py-amqp's own, which waits for a resolver without a limit."""

        def connect(host: str, port: int, timeout_s: float) -> None:
            error: OSError = TimeoutError(f"{host} has no address")
            for family, kind, protocol, _, address in _addresses(lookups, host, port, timeout_s):
                if self._deadline and self._deadline.passed:
                    break
                transport.sock = socket.socket(family, kind, protocol)
                try:
                    transport.sock.settimeout(timeout_s)
                    transport.sock.connect(address)
                except OSError as refused:
                    transport.sock.close()
                    transport.sock, error = None, refused
                else:
                    return
            raise error

        return connect


def _addresses(lookups: Lookups, host: str, port: int, timeout_s: float) -> Sequence[Any]:
    with contextlib.suppress(socket.gaierror):
        return _resolved(host, port, socket.AI_NUMERICHOST)
    return lookups.result(f"{host}:{port}", lambda: _resolved(host, port), timeout_s)


def _resolved(host: str, port: int, flags: int = 0) -> Sequence[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


class RabbitTransport(pyamqp.Transport):
    """`kombu.Connection(transport=RabbitTransport, ...)`."""

    Connection = CautiousConnection
