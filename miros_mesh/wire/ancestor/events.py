"""Events as miros-rabbitmq sends them: its address, and the JSON of miros' `Event.dumps`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

import msgspec

from miros_mesh.errors import PayloadError
from miros_mesh.wire.ancestor import pickles
from miros_mesh.wire.ancestor.codec import ANCESTOR, INCARNATION, TokenCodec, malformed
from miros_mesh.wire.envelope import RESERVED_PREFIX, Envelope, Name
from miros_mesh.wire.keyring import KeyRing, OpenedToken
from miros_mesh.wire.payload_faults import trouble_of
from miros_mesh.wire.serializer import PayloadSerializer
from miros_mesh.wire.typed_payloads import Payloads

# What its scout sends under a chart's topic, to see whether a broker takes it.
_SCOUTS: Final = re.compile(r"[0-9A-F]{12}")
_DECODING_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    """What `Event.dumps` writes; both are always there."""

    signal_name: Name
    payload: Any


_decoder: Final = msgspec.json.Decoder(_Event, strict=True)


class EventCodec(TokenCodec[Envelope]):
    """Envelopes of the mesh to tokens of miros-rabbitmq and back.

    `address` returns where the node's home broker is, as the ancestors are to know it; `heard` is
    called with the address of each of them that speaks, and must return at once. An envelope that
    comes has the payload as `serializer` writes it, so that it is like any other from here on.
    """

    def __init__(
        self,
        keyring: KeyRing,
        serializer: PayloadSerializer,
        payloads: Mapping[str, Any],
        *,
        address: Callable[[], str],
        heard: Callable[[str], object] = lambda _: None,
        max_event_bytes: int,
        max_bytes: int,
        **more: Any,
    ) -> None:
        super().__init__(keyring, max_bytes=max_bytes, **more)
        self._payloads = Payloads(serializer, payloads)
        self._max_event_bytes = max_event_bytes
        self._address = address
        self._heard = heard

    def _value(self, message: Envelope) -> pickles.Value:
        try:
            tree = self._payloads.loads(message.signal, message.payload, typed=False)
            # As `Event.dumps` does, but for numbers that JSON does not have.
            text = json.dumps({"signal_name": message.signal, "payload": tree}, allow_nan=False)
        except Exception as error:
            # A program's own serializer may raise any, and its event has gone to the mesh.
            raise PayloadError(
                f"{message.signal} cannot go to miros-rabbitmq, which has JSON alone: "
                f"{_told(error)}"
            ) from error
        return self._address(), text

    def _message(self, value: pickles.Value, opened: OpenedToken) -> Envelope | None:
        if isinstance(value, str):
            if _SCOUTS.fullmatch(value):
                return None
            raise malformed("on the mesh that is one text, and no scout's")
        address, text = value
        try:
            address = str(IPv4Address(address))
            event = _decoder.decode(text)
        except AddressValueError:
            raise malformed("whose sender is no IPv4 address") from None
        except _DECODING_ERRORS:
            raise malformed("that holds no event as Event.dumps writes it") from None
        if event.signal_name.startswith(RESERVED_PREFIX):
            raise malformed("with a signal of the library, which no chart of it sends")
        return Envelope(
            node=address,
            chart=ANCESTOR,
            incarnation=INCARNATION,
            sequence=opened.number,
            signal=event.signal_name,
            payload=self._native(event),
            sent_at=float(opened.sealed_at),
        )

    def _admitted(self, message: Envelope) -> None:
        # Not before: an old token, which anyone may send again, tells of a place of long ago.
        self._heard(message.node)

    def _native(self, event: _Event) -> bytes:
        try:
            data = self._payloads.serializer.dumps(event.payload)
        except Exception as error:
            raise malformed(f"whose payload cannot be kept: {_told(error)}") from error
        if len(data) > self._max_event_bytes:
            raise malformed(f"with a payload above {self._max_event_bytes:,} bytes")
        return data


def _told(error: Exception) -> str:
    # Of ours the text says where and why, and no value.
    return str(error) if isinstance(error, PayloadError) else trouble_of(error)
