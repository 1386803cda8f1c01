"""`TcpScanner`: which of many addresses have an open port of a broker."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from miros_mesh.discovery.addresses import MOST_CANDIDATES, lan_is_off
from miros_mesh.systems import CONNECTING
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# Longer than a second, after which the kernel repeats a packet (RFC 6298) or an ARP request
# (`retrans_time_ms`) that was lost.
CONNECT_TIMEOUT_S = 1.05
# The kernel asks for 3 s for an address that does not answer, and has room for 1,024 such entries
# in all; beyond those it drops packets and reports no error. With these two numbers it never has
# more than 768 of ours: 256 at once, each for 1.05 s, and their entries for 3 s.
AT_ONCE = 256
PER_SECOND = 1000.0
# Charts that ask for a search soon after one get its result.
LEAST_PAUSE_S = 10.0
# When a wait ends late, so many connections that were due are begun at once.
_MADE_UP_FOR = 10

# A limit of the process or the host, which closing a connection may end.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EAGAIN})


@dataclass
class _Sweep:
    """One pass over the addresses: those to come, open connections with deadline, and answers."""

    waiting: deque[str]
    open: dict[socket.socket, tuple[str, float]] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)


class TcpScanner:
    """Connects to the broker's port of each candidate and hangs up; sends no byte of its own.

    One thread, `at_once` connections at a time, `per_second` attempts a second. For `pause_s` after
    a scan its result stands.
    """

    def __init__(
        self,
        port: int,
        candidates: Callable[[], Sequence[str]],
        *,
        at_once: int = AT_ONCE,
        per_second: float = PER_SECOND,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        pause_s: float = LEAST_PAUSE_S,
    ) -> None:
        self._port = port
        self._candidates = candidates
        self._at_once = at_once
        self._interval_s = 1 / per_second
        self._timeout_s = connect_timeout_s
        self._pause_s = pause_s
        self._last: tuple[float, list[str]] | None = None
        # Held during a scan, so a second caller waits and gets the same result. Guards `_last`.
        self._scanning = threading.Lock()
        # Set by `stop` without the lock, which a scan holds: it is what ends the scan.
        self._stopped = threading.Event()
        # Ends the wait of the selector, which no event can. Closed by `stop`. Sockets: a selector
        # of Windows takes no pipe.
        self._wake_reader, self._wake_writer = socket.socketpair()

    def scan(self) -> list[str]:
        """Return the candidates that answer; takes seconds. None once the scanner has stopped."""
        with self._scanning:
            if self._last and time.monotonic() < self._last[0] + self._pause_s:
                return list(self._last[1])
            answered = [] if self._stopped.is_set() else self._sweep(_allowed(self._candidates()))
            self._last = time.monotonic(), answered
            return list(answered)

    def stop(self) -> None:
        """End a scan at once; from any thread. The scanner cannot be used again."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._wake_writer.send(b"!")
            # After the scan, whose selector still has the pair.
            with self._scanning:
                self._wake_reader.close()
                self._wake_writer.close()

    def _sweep(self, addresses: Iterable[str]) -> list[str]:
        sweep = _Sweep(deque(addresses))
        next_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            try:
                while (sweep.waiting or sweep.open) and not self._stopped.is_set():
                    next_at = self._dial_more(sweep, selector, next_at)
                    self._listen(sweep, selector, next_at)
            finally:
                for connection in list(sweep.open):
                    _hang_up(sweep, selector, connection)
        return sweep.answered

    def _dial_more(self, sweep: _Sweep, selector: selectors.BaseSelector, next_at: float) -> float:
        now = time.monotonic()
        while sweep.waiting and len(sweep.open) < self._at_once and next_at <= now:
            if not self._dial(sweep, selector, sweep.waiting.popleft(), now):
                # By then a connection that is open now has ended and left its room.
                return now + self._timeout_s
            # Time that was not used is not saved for a burst.
            next_at = max(next_at + self._interval_s, now - _MADE_UP_FOR * self._interval_s)
        return next_at

    def _dial(
        self, sweep: _Sweep, selector: selectors.BaseSelector, address: str, now: float
    ) -> bool:
        """Begin to connect; False when this process has no room for one more connection."""
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setblocking(False)
        except OSError as error:
            if error.errno in _NO_ROOM and sweep.open:
                sweep.waiting.appendleft(address)
                return False
            logger.warning("the local network cannot be looked at: %s", error)
            sweep.waiting.clear()
            return True
        outcome = _connect(connection, address, self._port)
        # Any other number ends it here: connected at once, refused, or no route.
        if outcome in CONNECTING:
            sweep.open[connection] = address, now + self._timeout_s
            selector.register(connection, selectors.EVENT_WRITE)
        else:
            connection.close()
            if outcome == 0:
                sweep.answered.append(address)
        return True

    def _listen(self, sweep: _Sweep, selector: selectors.BaseSelector, next_at: float) -> None:
        for key, _ in selector.select(self._pause(sweep, next_at)):
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._wake_reader:
                # Writable means decided, see connect(2): the error number tells how.
                if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    sweep.answered.append(sweep.open[key.fileobj][0])
                _hang_up(sweep, selector, key.fileobj)
        now = time.monotonic()
        # The dictionary is in the order of the deadlines.
        for connection, (_, deadline) in list(sweep.open.items()):
            if deadline > now:
                break
            _hang_up(sweep, selector, connection)

    def _pause(self, sweep: _Sweep, next_at: float) -> float:
        moments = [deadline for _, deadline in list(sweep.open.values())[:1]]
        if sweep.waiting and len(sweep.open) < self._at_once:
            moments.append(next_at)
        return max(min(moments, default=0.0) - time.monotonic(), 0.0)


def _hang_up(sweep: _Sweep, selector: selectors.BaseSelector, connection: socket.socket) -> None:
    selector.unregister(connection)
    connection.close()
    del sweep.open[connection]


def _connect(connection: socket.socket, address: str, port: int) -> int:
    """Begin to connect, and return the error number; without a route to the address too."""
    try:
        if "%" in address:
            host, _, interface = address.partition("%")
            return connection.connect_ex((host, port, 0, socket.if_nametoindex(interface)))
        return connection.connect_ex((address, port))
    except OSError as error:
        return error.errno or errno.EHOSTUNREACH


def _allowed(addresses: Sequence[str]) -> list[str]:
    """Bound the addresses; where the local network is switched off, only loopback ones are left."""
    if lan_is_off():
        addresses = [each for each in addresses if ip_address(each).is_loopback]
    return list(addresses[:MOST_CANDIDATES])
