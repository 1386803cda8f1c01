"""What py-amqp gets to read of a delivered message: its body, and nothing else that a sender wrote.

py-amqp raises at a routing key or a property that is no UTF-8, at each redelivery again, and kombu
decompresses what a header calls compressed: whoever may publish could silence us without a key.

And a heartbeat ends the wait for input, as any other word of the broker does: py-amqp would go on
waiting, and an event that is transmitted meanwhile would wait as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from amqp.method_framing import frame_handler
from amqp.spec import Basic

Frame = tuple[int, int, bytes]

_METHOD: Final = 1
_HEADER: Final = 2
_HEARTBEAT: Final = 8
_DELIVER: Final = bytes((0, Basic.Deliver[0], 0, Basic.Deliver[1]))
# Class, weight and body size; the properties follow.
_HEADER_BYTES: Final = 12
_NO_PROPERTIES: Final = b"\0\0"
_NO_ROUTING_KEY: Final = b"\0"
_DELIVERY_TAG_AND_REDELIVERED: Final = 9


def cautious_frame_handler(
    connection: Any, dispatch: Callable[..., None]
) -> Callable[[Frame], bool]:
    """For the argument `frame_handler` of `amqp.Connection`."""
    handle: Callable[[Frame], bool] = frame_handler(connection, dispatch)

    def on_frame(frame: Frame) -> bool:
        kind, channel, payload = frame
        if kind == _HEADER:
            payload = payload[:_HEADER_BYTES] + _NO_PROPERTIES
        elif kind == _METHOD and payload[:4] == _DELIVER:
            payload = payload[: _routing_key_at(payload)] + _NO_ROUTING_KEY
        return handle((kind, channel, payload)) or kind == _HEARTBEAT

    return on_frame


def _routing_key_at(deliver: bytes) -> int:
    consumer_tag_at = len(_DELIVER)
    exchange_at = consumer_tag_at + 1 + deliver[consumer_tag_at] + _DELIVERY_TAG_AND_REDELIVERED
    return exchange_at + 1 + deliver[exchange_at]
