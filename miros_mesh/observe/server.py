"""`/metrics` for Prometheus, `/live` and `/ready` for Kubernetes: a WSGI app and its server."""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from miros_mesh.errors import ListenError, PortInUseError
from miros_mesh.health import Health
from miros_mesh.node.node import NODES

logger = logging.getLogger(__name__)

MAX_PORT: Final = 65_535
# Of one process: Prometheus, the probes of Kubernetes, somebody with a browser.
MAX_CONNECTIONS: Final = 32
CLIENT_TIMEOUT_S: Final = 5.0
NO_NODE: Final = "no chart has joined the mesh yet, or all have left it"

Answer = tuple[str, dict[str, Any]]


def wsgi_app(
    registry: CollectorRegistry = REGISTRY,
    *,
    health: Callable[[], Sequence[Health]] | None = None,
) -> WSGIApplication:
    """`/metrics` of a registry; `/live` and `/ready` of the process' nodes, or of `health`."""
    metrics: WSGIApplication = make_wsgi_app(registry)
    look = health or _all_nodes
    states: dict[str, Callable[[Sequence[Health]], Answer]] = {"/live": _live, "/ready": _ready}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        try:
            if path == "/metrics":
                return metrics(environ, start_response)
            if path not in states:
                answer = "404 Not Found", {"paths": ["/metrics", *states]}
            elif method not in ("GET", "HEAD"):
                answer = "405 Method Not Allowed", {"methods": ["GET", "HEAD"]}
            else:
                answer = states[path](look())
        except Exception:
            logger.exception("%s could not be answered", path)
            answer = "500 Internal Server Error", {"problems": ["see the log"]}
        return _json(answer, start_response, empty=method == "HEAD")

    return app


def start_metrics_server(
    port: int,
    address: str = "127.0.0.1",
    registry: CollectorRegistry = REGISTRY,
) -> MetricsServer:
    """Serve `wsgi_app(registry)`; port 0 takes a free one. `stop` the server at the end.

    Raises `PortInUseError`, or `ListenError` for an address that cannot be listened at.
    """
    return MetricsServer(wsgi_app(registry), port, address)


class MetricsServer:
    """A WSGI app behind a socket, on threads of its own; a context manager that stops it."""

    def __init__(self, app: WSGIApplication, port: int, address: str) -> None:
        self._server = _listening(port, address)
        self._server.set_app(app)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            # How long `stop` may take.
            kwargs={"poll_interval": 0.1},
            name=f"mesh-metrics-{self.port}",
            daemon=True,
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<MetricsServer {self.url}>"

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Where it is reached, if it listens at one address."""
        host = str(self._server.server_address[0])
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def stop(self) -> None:
        """Listen no more, break off what is being answered, and end every thread."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(WSGIServer):
    """A thread for each request, and all of them end with the server."""

    request_queue_size = MAX_CONNECTIONS

    def __init__(self, place: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._requests: dict[Any, threading.Thread] = {}
        self._changing = threading.Lock()
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        # Without asking a name server who we are, as the base class does.
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return len(self._requests) < MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._answer,
            args=(request, client_address),
            name=f"mesh-metrics-{self.server_port}-request",
            daemon=True,
        )
        with self._changing:
            self._requests[request] = thread
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a client of the metrics server went away")

    def server_close(self) -> None:
        super().server_close()
        with self._changing:
            requests = dict(self._requests)
        for request, thread in requests.items():
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("a client of the metrics server went away first")
            thread.join()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # noqa: BLE001 - as the base class does
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._changing:
                self._requests.pop(request, None)


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        logger.debug(format, *args)

    def address_string(self) -> str:
        return str(self.client_address[0])


def _listening(port: int, address: str) -> _Server:
    if type(port) is not int or not 0 <= port <= MAX_PORT:
        raise ListenError(f"{port!r} is no port: take a whole number from 0 to {MAX_PORT}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return _Server((address, port), family)
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


def _all_nodes() -> Sequence[Health]:
    return [node.health() for node in NODES.live]


def _live(nodes: Sequence[Health]) -> Answer:
    problems = [problem for node in nodes for problem in node.unfit]
    return _answer("alive", "dead", problems, nodes)


def _ready(nodes: Sequence[Health]) -> Answer:
    problems = [problem for node in nodes for problem in node.unready] if nodes else [NO_NODE]
    return _answer("ready", "not ready", problems, nodes)


def _answer(good: str, bad: str, problems: Sequence[str], nodes: Sequence[Health]) -> Answer:
    body = {
        "status": bad if problems else good,
        "problems": list(problems),
        "nodes": [asdict(node) for node in nodes],
    }
    return "503 Service Unavailable" if problems else "200 OK", body


def _json(answer: Answer, start_response: StartResponse, *, empty: bool) -> Iterable[bytes]:
    status, content = answer
    body = json.dumps(content).encode() + b"\n"
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, headers)
    return [] if empty else [body]
