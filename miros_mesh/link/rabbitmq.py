"""Kombu's py-amqp transport, made fit for brokers that hang and for ports where none is."""

from __future__ import annotations

from typing import Any

from kombu.transport import pyamqp

from miros_mesh.link.frames import cautious_frame_handler


class CautiousConnection(pyamqp.Connection):
    """A py-amqp connection that believes nobody and leaves nothing open."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, frame_handler=cautious_frame_handler)

    def connect(self, callback: Any = None) -> Any:
        """Connect; py-amqp itself closes the socket after some errors only."""
        try:
            return super().connect(callback)
        except Exception:
            self.collect()
            raise


class RabbitTransport(pyamqp.Transport):
    """`kombu.Connection(transport=RabbitTransport, ...)`."""

    Connection = CautiousConnection
