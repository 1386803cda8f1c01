"""Where the server of the metrics can listen, and what it says where it cannot."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from miros_mesh.errors import ListenError, PortInUseError
from miros_mesh.observe import http_server
from miros_mesh.observe.http_server import MAX_CONNECTIONS, listen
from miros_mesh.observe.server import MetricsServer
from support.rabbitmq_server import HOST
from support.waiting import wait_until

# More than there are addresses: the system then starts no thread.
NO_STACK_HAS_IT = 1 << 47


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with listen(0, HOST) as first:
        port = first.server_port
        with pytest.raises(
            PortInUseError, match=rf"port {port} of 127.0.0.1.*another port"
        ) as told:
            listen(port, HOST)
    # No second traceback stands above the one that tells what to do.
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    ("port", "address", "says"),
    [
        (70_000, HOST, "^70000 is no port: take a whole number from 0 to 65535$"),
        (-1, HOST, "^-1 is no port"),
        ("9465", HOST, "^'9465' is no port"),
        (None, HOST, "^None is no port"),
        (9465.0, HOST, "^9465.0 is no port"),
        (True, HOST, "^True is no port"),
        (0, "192.0.2.1", "192.0.2.1 cannot be listened at"),
        (0, "no such host", "no such host cannot be listened at"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(port: Any, address: str, says: str) -> None:
    with pytest.raises(ListenError, match=says):
        listen(port, address)


def _asked(port: int) -> bytes:
    with socket.create_connection((HOST, port), timeout=10) as client:
        with suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(1)
        return b""


def _answer(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


def test_requests_that_got_no_thread_do_not_count_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with MetricsServer(_answer, 0, HOST) as server:
        usual = threading.stack_size(NO_STACK_HAS_IT)
        try:
            refused = [_asked(server.port) for _ in range(MAX_CONNECTIONS)]
        finally:
            threading.stack_size(usual)
        assert not any(refused)
        assert "a request is refused: can't start new thread" in caplog.text
        assert _asked(server.port) == b"H"


def test_the_end_waits_for_all_hanging_requests_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_s, clients = 0.5, 8
    monkeypatch.setattr(http_server, "CLIENT_TIMEOUT_S", limit_s)
    at_work, released = threading.Semaphore(0), threading.Event()

    def hang(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        at_work.release()
        released.wait()
        return _answer(environ, start_response)

    server = MetricsServer(hang, 0, HOST)
    with ExitStack() as open_clients, caplog.at_level(logging.WARNING):
        open_clients.callback(released.set)
        for _ in range(clients):
            client = open_clients.enter_context(
                socket.create_connection((HOST, server.port), timeout=10)
            )
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert at_work.acquire(timeout=10)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < limit_s * clients / 2
    assert f"{clients} requests have not ended within 0.5 s" in caplog.text
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.endswith("-request")])
