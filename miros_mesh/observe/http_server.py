"""A small HTTP server for a WSGI app, with a bound on its threads: of the metrics, of the page."""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from functools import partial
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from miros_mesh.errors import ListenError, PortInUseError
from miros_mesh.systems import REUSES_ADDRESSES
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread

logger = logger_of(__name__)

MAX_PORT: Final = 65_535
# Of one server: Prometheus, the probes of Kubernetes, a browser or two.
MAX_CONNECTIONS: Final = 32
# A client that says or takes nothing keeps its thread for so long; `server_close` waits no longer
# for all of them together.
CLIENT_TIMEOUT_S: Final = 5.0
# How long `stop` may wait until the thread sees that it is asked to end.
POLL_S: Final = 0.1
STOP_LIMIT_S: Final = 5.0


class Server(WSGIServer):
    """Answers each request on a thread of its own; all of them end with the server."""

    # The kernel's queue of connections that wait for `accept`; the base class has 5.
    request_queue_size = MAX_CONNECTIONS
    allow_reuse_address = REUSES_ADDRESSES

    def __init__(
        self, place: tuple[str, int], family: socket.AddressFamily, role: str = "metrics"
    ) -> None:
        self.address_family = family
        self.role = role
        # Guards `_requests`, which the threads of requests leave on their own. No thread is joined
        # while it is held.
        self._changing = threading.Lock()
        # The threads at work, by the socket of their client.
        # Written by the serving thread (in) and by each request's own (out).
        self._requests: dict[socket.socket, OwnedThread] = {}
        # Last: it binds the socket, and what raises then leaves nothing to clean up.
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        # The base class asks a name server for this host's name, which may take long.
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        # Without the lock: only this thread, the serving one, adds; that one has just gone costs a
        # client at most a second try.
        return len(self._requests) < MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        # Not `ThreadingMixIn`: it has no bound, and no way to end a thread that waits for a silent
        # client.
        thread = OwnedThread(
            f"mesh-{self.role}-{self.server_port}-request",
            partial(self._answer, request, client_address),
            wake=partial(_break_off, request),
        )
        with self._changing:
            self._requests[request] = thread
        try:
            thread.start()
        except RuntimeError as error:
            # No thread leaves for it: it would count towards `MAX_CONNECTIONS` for ever.
            with self._changing:
                del self._requests[request]
            self.shutdown_request(request)
            logger.warning(
                "%s server: a request is refused: %s: end some, or raise the limit of threads",
                self.role,
                error,
            )

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The base class prints a traceback on standard error, once for each client that hangs up.
        logger.debug("a client of the %s server went away", self.role)

    def server_close(self) -> None:
        # The serving thread has ended before, so no request is added any more.
        super().server_close()
        with self._changing:
            threads = list(self._requests.values())
        # Outside the lock: a thread takes it on its way out. All are broken off before the first is
        # waited for, so that they end at the same time.
        for thread in threads:
            thread.stop(0)
        end = time.monotonic() + CLIENT_TIMEOUT_S
        left = [thread for thread in threads if not thread.join(end - time.monotonic())]
        if left:
            logger.warning(
                "%s server: %d requests have not ended within %g s: the app, or a collector "
                "of its registry, hangs",
                self.role,
                len(left),
                CLIENT_TIMEOUT_S,
            )

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # noqa: BLE001 - as the base class does
            self.handle_error(request, client_address)
        finally:
            # In this order: a request counts until its socket is closed, or `MAX_CONNECTIONS` would
            # not bound the file descriptors.
            self.shutdown_request(request)
            with self._changing:
                self._requests.pop(request, None)


def _break_off(request: socket.socket) -> None:
    """End a request whose thread waits for its client."""
    try:
        # And not `close`: a thread that waits in `recv` wakes from a shutdown alone.
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("a client went away first")


class AppServer:
    """A WSGI app behind a socket, on threads of its own; a context manager that stops it."""

    def __init__(
        self, app: WSGIApplication, port: int, address: str, role: str = "metrics"
    ) -> None:
        self._server = listen(port, address, role)
        self._server.set_app(app)
        self._thread = OwnedThread(
            f"mesh-{role}-{self.port}",
            partial(self._server.serve_forever, POLL_S),
            wake=self._server.shutdown,
        )
        # After `set_app`, which a first request needs.
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port that it listens at, also when 0 was asked for."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """The address of its root; of one that listens at all addresses, 0.0.0.0 stands in it."""
        host = str(self._server.server_address[0])
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def stop(self) -> None:
        """Close the socket, break off what is being answered, and end every thread within 10 s.

        A request that hangs longer is left behind, and logged. A second call does nothing.
        """
        # A forked child has no such thread, and `shutdown` would wait for it without an end.
        if self._thread.alive:
            self._thread.stop(STOP_LIMIT_S)
        self._server.server_close()


class _Debug(io.TextIOBase):
    """Where wsgiref writes what went wrong: into the log, for who looks for it."""

    def write(self, words: str) -> int:
        if words.strip():
            logger.debug("%s", words.rstrip())
        return len(words)


class _Handler(WSGIRequestHandler):
    # `StreamRequestHandler.setup` gives it to the socket.
    timeout = CLIENT_TIMEOUT_S

    def get_stderr(self) -> Any:
        # What an app raises it logs itself; left are clients that take nothing, or hang up.
        return _Debug()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        # The base class prints each request on standard error.
        logger.debug(format, *args)


def listen(port: int, address: str, role: str = "metrics") -> Server:
    """Open a server at an address; port 0 takes a free one. `role` is in its threads' names.

    Raises `PortInUseError`, or `ListenError` for a port or an address that cannot be had.
    """
    # `type`, since True is an `int` as well.
    if type(port) is not int or not 0 <= port <= MAX_PORT:
        raise ListenError(f"{port!r} is no port: take a whole number from 0 to {MAX_PORT}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return Server((address, port), family, role)
    except PermissionError:
        raise ListenError(
            f"port {port} needs more rights than this process has: take one above 1023"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} of {address} is in use: another process, or another server of this "
                "one, listens there. End it, or take another port (0 takes a free one)"
            ) from None
        raise ListenError(
            f"{address} cannot be listened at ({error.strerror or error}): take 127.0.0.1, 0.0.0.0 "
            "for all networks of this machine, or one of its addresses"
        ) from None
