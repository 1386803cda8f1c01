"""`examples/web`: a web server that asks a chart of another process, as its page says."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from support.charts_at_work import KEY
from support.doc_pages import ROOT
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

WEB = ROOT / "examples" / "web"
LIMIT_S = 30.0

Get = Callable[[str], tuple[int, Any]]
Prices = Callable[[], subprocess.Popen[str]]


@pytest.fixture(params=["embedded", "rabbitmq"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    settings = {}
    if request.param == "rabbitmq":
        url = request.getfixturevalue("vhost_url")
        settings = {"MIROS_MESH_BROKER_URL": url, "MESH_ENCRYPTION_KEY": KEY.decode()}
    return {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(running: ExitStack, *command: object, **arguments: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, **arguments
    )
    running.enter_context(process)
    running.callback(process.kill)
    return process


@pytest.fixture
def prices(running: ExitStack, environment: dict[str, str]) -> Prices:
    """Start the chart; it is open for business then."""

    def start() -> subprocess.Popen[str]:
        process = started(running, WEB / "prices.py", env=environment)
        assert process.stdout
        assert "open" in process.stdout.readline()
        return process

    return start


@pytest.fixture
def server(running: ExitStack, environment: dict[str, str]) -> tuple[subprocess.Popen[str], Get]:
    """A uvicorn that serves, and what gets a status and a JSON document from it."""
    (port,) = free_ports(1)
    place = ["--app-dir", WEB, "--host", HOST, "--port", port, "--log-level", "warning"]
    process = started(running, "-m", "uvicorn", *place, "app:app", env=environment)

    def get(path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(HOST, port, timeout=LIMIT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.load(response)
        finally:
            connection.close()

    def is_ready() -> bool:
        assert process.poll() is None
        try:
            return get("/ready") == (200, {"problems": []})
        except OSError:
            return False

    wait_until(is_ready, LIMIT_S)
    return process, get


def test_what_a_chart_answers_goes_out_over_http_and_each_failure_has_its_status(
    prices: Prices, server: tuple[subprocess.Popen[str], Get]
) -> None:
    process, get = server
    # Nobody there
    assert get("/prices/apples") == (503, {"error": "the prices are closed"})

    # Answered, also to many at once
    chart = prices()
    assert get("/prices/apples") == (200, {"item": "apples", "cents": 120})
    assert get("/prices/moons") == (404, {"item": "moons"})
    with ThreadPoolExecutor(16) as pool:
        paths = ["/prices/pears"] * 100
        assert set(map(str, pool.map(get, paths))) == {str((200, {"item": "pears", "cents": 150}))}

    # There, and too slow
    chart.send_signal(signal.SIGSTOP)
    # Until its main thread has had its turn, the others go on.
    wait_until(lambda: os.waitid(os.P_PID, chart.pid, os.WSTOPPED | os.WNOHANG), LIMIT_S)
    assert get("/prices/apples") == (504, {"error": "the prices take too long"})
    chart.send_signal(signal.SIGCONT)
    assert get("/prices/apples")[0] == 200

    # Gone in good order
    chart.send_signal(signal.SIGTERM)
    assert chart.wait(LIMIT_S) == 0
    wait_until(lambda: get("/prices/apples")[0] == 503, LIMIT_S)

    process.send_signal(signal.SIGTERM)
    # uvicorn raises the signal again once its lifespan has ended.
    assert process.wait(LIMIT_S) in (0, -signal.SIGTERM)
