"""The frame reader takes every frame out of what has come, and waits for no more than it must."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from amqp.exceptions import UnexpectedFrame
from amqp.transport import TCPTransport

from miros_mesh.link.rabbitmq.frame_reader import AmqpFrame, FrameReader

LIMIT_S = 5.0
HEARTBEAT = (8, 0, b"")
METHOD = (1, 3, b"\0\x3c\0\x50" + bytes(9))
BODY = (3, 3, bytes(range(256)) * 300)
SHORT_BODY = (3, 3, b"x")


class Line:
    """A broker's end of a connection, and the reader of ours."""

    def __init__(self) -> None:
        self.broker, ours = socket.socketpair()
        self.transport = TCPTransport("localhost:1")
        self.transport.sock = ours
        self.transport.connected = True
        ours.settimeout(LIMIT_S)
        self.reader = FrameReader(self.transport)

    def frames(self) -> Iterator[AmqpFrame]:
        """What has come, read once."""
        self.reader.fill()
        while frame := self.reader.frame():
            yield frame

    def close(self) -> None:
        self.broker.close()
        self.transport.sock.close()


@pytest.fixture
def line() -> Iterator[Line]:
    """A connection."""
    made = Line()
    yield made
    made.close()


def test_frames_that_came_at_once_are_handed_out_in_order(line: Line) -> None:
    line.broker.sendall(b"".join(map(_bytes_of, (METHOD, HEARTBEAT, METHOD))))
    assert list(line.frames()) == [METHOD, HEARTBEAT, METHOD]
    assert not line.reader.pending


def test_a_frame_in_parts_is_handed_out_when_its_end_has_come(line: Line) -> None:
    whole = _bytes_of(METHOD)
    for at in range(len(whole) - 1):
        line.broker.sendall(whole[at : at + 1])
        assert list(line.frames()) == []
        assert not line.reader.pending
    line.broker.sendall(whole[-1:] + _bytes_of(HEARTBEAT)[:3])
    assert list(line.frames()) == [METHOD]
    line.broker.sendall(_bytes_of(HEARTBEAT)[3:])
    assert list(line.frames()) == [HEARTBEAT]


def test_a_frame_larger_than_a_read_is_put_together(line: Line) -> None:
    # It fits into the buffers of the kernel, so that no second thread has to write it.
    line.broker.sendall(_bytes_of(BODY) + _bytes_of(METHOD))
    assert line.reader.read_frame() == BODY
    assert line.reader.read_frame() == METHOD


def test_what_a_call_reads_meanwhile_is_handed_out_once(line: Line) -> None:
    line.broker.sendall(b"".join(map(_bytes_of, (HEARTBEAT, METHOD, SHORT_BODY))))
    seen = []
    for frame in line.frames():
        seen.append(frame)
        if frame == HEARTBEAT:
            assert line.reader.read_frame() == METHOD
    assert seen == [HEARTBEAT, SHORT_BODY]


def test_what_is_left_of_a_read_is_pending(line: Line) -> None:
    line.broker.sendall(_bytes_of(METHOD) + _bytes_of(HEARTBEAT))
    for frame in line.frames():
        assert frame == METHOD
        break
    assert line.reader.pending
    # Without another read, which would wait.
    assert list(line.frames()) == [HEARTBEAT]


def test_part_of_a_frame_is_kept_at_a_timeout(line: Line) -> None:
    whole = _bytes_of(METHOD)
    line.broker.sendall(whole[:9])
    for timeout_s in (0, 0.01):
        line.transport.sock.settimeout(timeout_s)
        with pytest.raises((TimeoutError, BlockingIOError)):
            line.reader.read_frame()
        assert line.transport.connected
    line.transport.sock.settimeout(LIMIT_S)
    line.broker.sendall(whole[9:])
    assert line.reader.read_frame() == METHOD


def test_a_broker_that_hangs_up_breaks_the_connection(line: Line) -> None:
    line.broker.sendall(_bytes_of(METHOD)[:9])
    line.broker.close()
    with pytest.raises(ConnectionResetError, match="closed"):
        line.reader.read_frame()
    assert not line.transport.connected


def test_a_frame_with_another_end_is_refused(line: Line) -> None:
    line.broker.sendall(_bytes_of(METHOD)[:-1] + b"!")
    with pytest.raises(UnexpectedFrame, match="0x21"):
        line.reader.read_frame()


def _bytes_of(frame: tuple[int, int, bytes]) -> bytes:
    kind, channel, payload = frame
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
