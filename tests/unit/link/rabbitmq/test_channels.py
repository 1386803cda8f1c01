"""A channel that the broker closes: what it is told, and what is none of its business."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import amqp
import pytest
from amqp.serialization import dumps
from amqp.spec import Basic
from amqp.spec import Channel as Methods
from amqp.transport import TCPTransport

from miros_mesh.link.rabbitmq.channels import OwnedChannel

QUEUE = "QUEUE"
ACCESS_REFUSED = 403
LIMIT_S = 10.0


class Wire:
    """A connection of py-amqp with nobody at the other end: answers are put in by hand."""

    def __init__(self, *answers: tuple[tuple[int, int], bytes]) -> None:
        self.channels: dict[int, Any] = {}
        self._used_channel_ids: list[int] = []
        self.confirm_publish = False
        self.is_closing = False
        self.answers = list(answers)
        self.sent: list[tuple[int, int]] = []

    def _get_free_channel_id(self) -> int:
        self._used_channel_ids.append(1)
        return 1

    def _claim_channel_id(self, number: int) -> None:
        assert number not in self._used_channel_ids
        self._used_channel_ids.append(number)

    def frame_writer(self, _: int, number: int, method: tuple[int, int], *__: Any) -> None:
        self.sent.append(method)

    def drain_events(self, timeout: float | None = None) -> None:
        method, arguments = self.answers.pop(0)
        # A method's number stands before its arguments.
        content = amqp.Message("body") if method == Basic.Deliver else None
        self.channels[1].dispatch_method(method, b"\0" * 4 + arguments, content)


class Socketed(Wire):
    """The same with a socket, at whose other end nothing is read until it is asked for."""

    def __init__(self) -> None:
        super().__init__(OPENED)
        self.broker, ours = socket.socketpair()
        self.transport = TCPTransport("localhost:1")
        self.transport.sock, self.transport.connected = ours, True
        self.transport._setup_transport()
        ours.settimeout(LIMIT_S)
        self.bytes_sent = 0

    def close(self) -> None:
        self.broker.close()
        self.transport.sock.close()


OPENED = (Methods.OpenOk, dumps("L", [0]))
REFUSED = (Methods.Close, dumps("BsBB", [ACCESS_REFUSED, "ACCESS_REFUSED - no", 60, 20]))
DELIVERED = (Basic.Deliver, dumps("sLbss", ["tag", 76, False, "exchange", "key"]))


@contextmanager
def closed(wire: Wire) -> Iterator[OwnedChannel]:
    """A channel that the broker has just closed."""
    channel = OwnedChannel(wire)  # type: ignore[arg-type]
    with pytest.raises(amqp.AccessRefused):
        channel.basic_consume(QUEUE)
    yield channel


def test_a_refusal_is_raised_at_each_later_call_and_nowhere_else() -> None:
    wire = Wire(OPENED, REFUSED)
    with closed(wire) as channel:
        sent = len(wire.sent)
        for _ in range(2):
            with pytest.raises(amqp.AccessRefused, match="no"):
                channel.basic_ack(1)

        assert isinstance(channel.refusal, amqp.AccessRefused)
        assert wire.sent[-1] == Methods.CloseOk
        assert len(wire.sent) == sent


def test_a_delivery_that_was_under_way_to_a_closed_channel_is_nobodys() -> None:
    """A tag of the last channel of its number would close the next one."""
    wire = Wire(OPENED, REFUSED, DELIVERED, DELIVERED, OPENED)
    with closed(wire) as channel:
        wire.drain_events()
        after = channel.replacement()

    assert after.is_open
    assert wire.channels == {1: after}
    assert wire._used_channel_ids == [1]
    assert Basic.Reject not in wire.sent


def test_what_a_full_socket_takes_no_more_of_is_written_later() -> None:
    with closing(Socketed()) as wire:
        channel = OwnedChannel(wire)  # type: ignore[arg-type]
        frames = [bytes([number % 256]) * 3_000 for number in range(1_000)]
        taken = []
        for each in frames:
            # Without a wait, for which nothing would end here.
            if not channel.write_at_once(each):
                break
            taken.append(each)

        assert 0 < len(taken) < len(frames)
        assert wire.transport.sock.gettimeout() == LIMIT_S
        reader = ThreadPoolExecutor(1)
        came = reader.submit(_read, wire.broker, sum(map(len, taken)))
        channel.write_rest()
        assert came.result(LIMIT_S) == b"".join(taken)
        assert channel.write_at_once(b"next")
        assert wire.broker.recv(100) == b"next"
        reader.shutdown()


def test_a_closed_channel_writes_nothing_at_once() -> None:
    with closed(Wire(OPENED, REFUSED)) as channel:
        assert not channel.write_at_once(b"frame")
        channel.write_rest()


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(65_536)
    return data
