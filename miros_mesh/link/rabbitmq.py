"""Kombu's py-amqp transport, made fit for brokers that hang and for ports where none is."""

from __future__ import annotations

import struct
from typing import Any, Final

from kombu.transport import pyamqp

from miros_mesh.link.deadline import Deadline
from miros_mesh.link.frames import cautious_frame_handler

_METHOD: Final = 1
# A server's greeting tells its properties, and has less than a thousand bytes.
_LARGEST_GREETING_BYTES: Final = 64 * 1024


class CautiousConnection(pyamqp.Connection):
    """A py-amqp connection that believes nobody and leaves nothing open.

    With a `deadline` it is cut at that moment, whatever it is doing.
    """

    def __init__(self, *, deadline: Deadline | None = None, **options: Any) -> None:
        super().__init__(**options, frame_handler=cautious_frame_handler)
        self._deadline = deadline

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
        return transport


class RabbitTransport(pyamqp.Transport):
    """`kombu.Connection(transport=RabbitTransport, ...)`."""

    Connection = CautiousConnection
