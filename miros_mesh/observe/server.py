"""`/metrics` for Prometheus, `/live` and `/ready` for Kubernetes: a WSGI app and its server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from miros_mesh.health import Health, why_dead, why_unready
from miros_mesh.node.node import NODES
from miros_mesh.observe.http_server import AppServer
from miros_mesh.text import logger_of

logger = logger_of(__name__)

Answer = tuple[str, dict[str, Any]]
"""A status line of HTTP, and the body before it is JSON."""


def wsgi_app(
    registry: CollectorRegistry = REGISTRY,
    *,
    health: Callable[[], Sequence[Health]] | None = None,
) -> WSGIApplication:
    """Make a WSGI app: `/metrics` of a registry, `/live` and `/ready` of all nodes of the process.

    `health` gives the nodes to judge in their place. What raises is logged and answered with 500.
    """
    metrics: WSGIApplication = make_wsgi_app(registry)
    look = health or _all_nodes
    states: dict[str, Callable[[Sequence[Health]], Answer]] = {"/live": _live, "/ready": _ready}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        try:
            if path == "/metrics":
                # It makes the whole page before it calls `start_response`, so a collector that
                # raises still gets its answer of 500 below.
                return metrics(environ, start_response)
            if path not in states:
                answer = "404 Not Found", {"paths": ["/metrics", *states]}
            elif method not in ("GET", "HEAD"):
                answer = "405 Method Not Allowed", {"methods": ["GET", "HEAD"]}
            else:
                answer = states[path](look())
        except Exception:
            logger.exception("%s could not be answered", path)
            # The words of the error stay in the log: they may hold an address or a secret, and the
            # page has readers without a password.
            answer = "500 Internal Server Error", {"problems": ["see the log"]}
        return _json(answer, start_response, empty=method == "HEAD")

    return app


def start_metrics_server(
    port: int,
    address: str = "127.0.0.1",
    registry: CollectorRegistry = REGISTRY,
) -> MetricsServer:
    """Serve `wsgi_app(registry)` until the server's `stop`; port 0 takes a free one.

    Raises `PortInUseError`, or `ListenError` for an address that cannot be listened at.
    """
    return MetricsServer(wsgi_app(registry), port, address)


class MetricsServer(AppServer):
    """The server of the metrics and of the probes; a context manager that stops it."""


def _all_nodes() -> Sequence[Health]:
    # A snapshot, which waits for no node that is just starting: a probe must be answered meanwhile.
    return [node.health() for node in NODES.live]


def _live(nodes: Sequence[Health]) -> Answer:
    return _answer("alive", "dead", why_dead(nodes), nodes)


def _ready(nodes: Sequence[Health]) -> Answer:
    return _answer("ready", "not ready", why_unready(nodes), nodes)


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
    # HEAD has the headers of GET, the length of the body among them (RFC 9110, section 9.3.2).
    return [] if empty else [body]
