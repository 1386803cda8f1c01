"""A TCP relay on loopback that loses, delays, freezes, refuses or resets what passes through it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
UP = "up"
DOWN = "down"

_CHUNK = 65_536
_END_LIMIT_S = 5.0
_RESET_LIMIT_S = 1.0
# A frame of AMQP: kind, channel and size, then so many bytes, and one more at the end.
_FRAME = struct.Struct(">BHI")
_METHOD = 1
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Stands between a node and a broker. `up` is from the node to the broker."""

    def __init__(self, target_port: int, target_host: str = HOST) -> None:
        self._target = (target_host, target_port)
        self._listener = _listening(0)
        self.port: int = self._listener.getsockname()[1]
        self.count = 0
        self.delay_s = 0.0
        self.holes: frozenset[str] = frozenset()
        self.frozen_at: tuple[int, int] | None = None
        """The method of AMQP with which a broker falls silent, on connections from now on."""
        self.frozen = 0
        """How many connections have fallen silent so."""
        self._refusing = False
        self._links: list[_Link] = []
        self._orphans: list[_Link] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._acceptor = self._start_accepting()

    def cut(self) -> None:
        """Reset every connection (RST to both ends)."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def cut_off(self) -> None:
        """Reset every connection towards the node only; the broker hears nothing of it."""
        with self._lock:
            links, self._links = self._links, []
            self._orphans += links
        for link in links:
            link.reset_node()

    def refuse(self) -> None:
        """Reset every connection and let nobody connect."""
        self._stop_accepting()
        self.cut()

    def black_hole(self, *directions: str) -> None:
        """Swallow what comes in these directions, both unless told, without a word to anybody.

        A connection that has lost bytes stays lost when the hole closes, as at a firewall that has
        forgotten it.
        """
        with self._lock:
            self.holes = frozenset(directions or (UP, DOWN))

    def resume(self) -> None:
        """Let everything through again."""
        with self._lock:
            self.holes = frozenset()
            self.delay_s = 0.0
        if self._refusing:
            self._refusing = False
            self._listener = _listening(self.port)
            self._acceptor = self._start_accepting()

    def close(self) -> None:
        """End every connection and every thread."""
        self._closed.set()
        self._stop_accepting()
        self.cut()
        for link in self._orphans:
            link.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def pause(self) -> None:
        """Hold what passes for as long as things are delayed."""
        if self.delay_s:
            self._closed.wait(self.delay_s)

    def _start_accepting(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), name="relay-accept")
        thread.start()
        return thread

    def _stop_accepting(self) -> None:
        if not self._refusing:
            self._refusing = True
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(_END_LIMIT_S)
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                node, _ = listener.accept()
            except OSError:
                return
            self.count += 1
            try:
                broker = socket.create_connection(self._target, _END_LIMIT_S)
            except OSError:
                _reset(node)
                continue
            broker.settimeout(None)
            link = _Link(self, node, broker)
            with self._lock:
                self._links = [known for known in self._links if known.alive] + [link]


class _Link:
    """One relayed connection: two sockets, and a thread for each direction."""

    def __init__(self, relay: Relay, node: socket.socket, broker: socket.socket) -> None:
        self._relay = relay
        self._sockets = (node, broker)
        self._left = 2
        self._resetting = False
        self._orphaned = False
        self._lock = threading.Lock()
        ways = ((UP, node, broker), (DOWN, broker, node))
        self._threads = [
            threading.Thread(target=self._pump, args=way, name=f"relay-{way[0]}") for way in ways
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether anything can still pass."""
        return self._left > 0

    def reset(self) -> None:
        """End the connection with an RST to both ends."""
        self._resetting = True
        # Whoever reads sees an end at once; only who waits to write must be torn away, by a FIN.
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            for end in self._sockets:
                _shut(end, how)
            for thread in self._threads:
                thread.join(_RESET_LIMIT_S)

    def reset_node(self) -> None:
        """End the connection towards the node; to the broker it still looks alive."""
        self._orphaned = True
        _shut(self._sockets[0], socket.SHUT_RD)

    def _pump(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        lost = False
        freezer = _Freezer(self._relay.frozen_at if way == DOWN else None)
        while data := _received(source):
            self._relay.pause()
            if freezer.freezes(data):
                self._relay.frozen += 1
                lost = True
            lost = lost or self._orphaned or way in self._relay.holes
            if not lost and not _sent(sink, data) and not self._orphaned:
                break
        if self._orphaned and way == UP:
            _reset(source)
        elif not (lost or self._resetting or way in self._relay.holes):
            _shut(sink, socket.SHUT_WR)
        self._ended()

    def _ended(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        for end in self._sockets:
            if self._resetting:
                _reset(end)
            end.close()


class _Freezer:
    """Looks in the words of a broker for a method; that frame and all behind it are lost."""

    def __init__(self, at: tuple[int, int] | None) -> None:
        self._at = at
        self._unread = b""

    def freezes(self, data: bytes) -> bool:
        """Whether the method is here; of what came in one piece with it nothing passes."""
        if self._at is None:
            return False
        self._unread += data
        while len(self._unread) >= _FRAME.size:
            kind, _, size = _FRAME.unpack_from(self._unread)
            end = _FRAME.size + size + 1
            if len(self._unread) < end:
                return False
            payload, self._unread = self._unread[_FRAME.size : end - 1], self._unread[end:]
            if kind == _METHOD and struct.unpack_from(">HH", payload) == self._at:
                self._at = None
                return True
        return False


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(64)
    return listener


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


def _sent(sink: socket.socket, data: bytes) -> bool:
    try:
        sink.sendall(data)
    except OSError:
        return False
    return True


def _shut(end: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(how)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()
