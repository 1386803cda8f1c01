"""`TcpScanner` on loopback: who answers, how many at once, how fast, and stopping."""

from __future__ import annotations

import errno
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from miros_mesh.discovery.sources import tcp_scanner as scanner_module
from miros_mesh.discovery.sources.tcp_scanner import TcpScanner
from support.waiting import wait_until


@contextmanager
def listening(*addresses: str, backlog: int = 50) -> Iterator[int]:
    """Sockets that listen at these addresses of loopback, on one port."""
    with ExitStack() as stack:
        port = 0
        for address in addresses:
            server = stack.enter_context(socket.socket())
            server.bind((address, port))
            server.listen(backlog)
            port = server.getsockname()[1]
        yield port


@contextmanager
def black_hole() -> Iterator[int]:
    """A port at 127.0.0.1 that does not answer: its queue is full and no connection is accepted."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@contextmanager
def scanning(port: int, addresses: list[str], **settings) -> Iterator[TcpScanner]:
    scanner = TcpScanner(port, lambda: addresses, **settings)
    try:
        yield scanner
    finally:
        scanner.stop()


def test_those_that_answer_are_found_and_no_others() -> None:
    addresses = [f"127.0.7.{last}" for last in range(1, 101)]
    with listening("127.0.7.9", "127.0.7.77") as port, scanning(port, addresses) as scanner:
        assert sorted(scanner.scan()) == ["127.0.7.77", "127.0.7.9"]


def test_an_ipv6_address_is_tried_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with scanning(port, ["::1", "fe80::1%nowhere"]) as scanner:
            assert scanner.scan() == (["::1"])


def test_one_that_does_not_answer_is_given_up_after_its_time() -> None:
    with black_hole() as port, scanning(port, ["127.0.0.1"], connect_timeout_s=0.2) as scanner:
        began = time.monotonic()
        assert scanner.scan() == []
        assert 0.2 <= time.monotonic() - began < 10


def test_silent_addresses_wait_side_by_side() -> None:
    with (
        black_hole() as port,
        scanning(port, ["127.0.0.1"] * 200, connect_timeout_s=0.3) as scanner,
    ):
        began = time.monotonic()
        scanner.scan()
        assert time.monotonic() - began < 3


def test_no_more_connections_at_once_than_allowed() -> None:
    with (
        black_hole() as port,
        scanning(port, ["127.0.0.1"] * 9, at_once=3, connect_timeout_s=0.1) as scanner,
    ):
        began = time.monotonic()
        scanner.scan()
        assert time.monotonic() - began >= 0.3


def test_no_more_attempts_a_second_than_allowed() -> None:
    addresses = [f"127.0.7.{last}" for last in range(1, 41)]
    with listening("127.0.7.1") as port, scanning(port, addresses, per_second=100) as scanner:
        began = time.monotonic()
        assert scanner.scan() == ["127.0.7.1"]
        assert time.monotonic() - began >= 0.38


def test_a_scan_of_1024_addresses_is_quick() -> None:
    addresses = [f"127.0.{third}.{last}" for third in range(20, 24) for last in range(256)]
    with listening("127.0.23.254") as port, scanning(port, addresses) as scanner:
        began = time.monotonic()
        assert scanner.scan() == ["127.0.23.254"]
        assert time.monotonic() - began < 20


def test_more_than_1024_addresses_are_not_looked_at() -> None:
    addresses = ["127.0.7.1"] * 1024 + ["127.0.7.2"]
    with listening("127.0.7.2") as port, scanning(port, addresses, per_second=1e6) as scanner:
        assert scanner.scan() == []


def test_a_second_scan_soon_after_the_first_sends_nothing() -> None:
    with listening("127.0.7.1") as port, scanning(port, ["127.0.7.1"]) as scanner:
        first = scanner.scan()
    with scanning(port, ["127.0.7.1"]) as scanner:
        pass
    assert first == ["127.0.7.1"]
    with listening("127.0.7.1") as port, scanning(port, ["127.0.7.1"], pause_s=60) as scanner:
        scanner.scan()
        scanner._port = 1
        assert scanner.scan() == ["127.0.7.1"]


def test_a_scan_is_stopped_at_once_and_none_begins_afterwards() -> None:
    with black_hole() as port:
        scanner = TcpScanner(port, lambda: ["127.0.0.1"] * 50, connect_timeout_s=60)
        results: list[list[str]] = []
        thread = threading.Thread(target=lambda: results.append(scanner.scan()))
        thread.start()
        wait_until(scanner._scanning.locked)
        began = time.monotonic()
        scanner.stop()
        thread.join(30)
        assert time.monotonic() - began < 30
        assert results == [[]]
        assert scanner.scan() == []
        scanner.stop()


def test_where_the_local_network_is_off_nothing_but_this_host_is_looked_at(monkeypatch) -> None:
    tried: list[str] = []

    def refuse(_: socket.socket, address: str, __: int) -> int:
        tried.append(address)
        return errno.ECONNREFUSED

    monkeypatch.setattr(scanner_module, "_connect", refuse)
    addresses = ["127.0.7.1", "192.168.7.1", "10.0.0.1", "fd00::1", "::1"]
    with scanning(5672, addresses) as scanner:
        scanner.scan()
    assert tried == ["127.0.7.1", "::1"]


def test_a_process_short_of_descriptors_scans_more_slowly_but_scans() -> None:
    addresses = [f"127.0.7.{last}" for last in range(1, 60)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening("127.0.7.59") as port, scanning(port, addresses) as scanner:
        spare = max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 5
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            found = scanner.scan()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == ["127.0.7.59"]
