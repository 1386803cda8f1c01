"""The test harness keeps what it promises; other tests stand on it."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import kombu
import pytest

from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

TESTS = Path(__file__).parents[1]

LEAKS_A_THREAD = """
import threading

def test_leaks():
    threading.Thread(target=threading.Event().wait, name="mesh-n-worker", daemon=True).start()

def test_does_not():
    pass
"""


def test_each_virtual_host_is_new_and_empty(rabbitmq: RabbitServer, vhost_url: str) -> None:
    _declare(vhost_url, "only here")
    other = rabbitmq.url(rabbitmq.new_vhost())
    assert other != vhost_url
    with kombu.Connection(other) as connection, pytest.raises(Exception, match="NOT_FOUND"):
        connection.channel().queue_declare("only here", passive=True)


def test_a_stopped_server_starts_again_with_what_was_durable(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    _declare(vhost_url, "durable")
    rabbitmq.stop()
    assert _nobody_answers(rabbitmq)
    rabbitmq.start()
    with kombu.Connection(vhost_url) as connection:
        connection.channel().queue_declare("durable", passive=True)


def test_a_killed_server_starts_again_with_its_virtual_hosts(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    # A queue declared in the last moment before the kill may be gone: RabbitMQ writes such things
    # to disk a little later.
    rabbitmq.kill()
    assert _nobody_answers(rabbitmq)
    rabbitmq.start()
    _declare(vhost_url, "afterwards")


def test_every_connection_can_be_closed_from_the_servers_side(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    with kombu.Connection(vhost_url) as connection:
        connection.ensure_connection(max_retries=1)
        assert rabbitmq.close_all_connections("maintenance") == 1
        with pytest.raises(connection.connection_errors, match="maintenance"):
            connection.drain_events(timeout=10)


def test_a_memory_alarm_is_raised_and_lifted(rabbitmq: RabbitServer) -> None:
    rabbitmq.start()
    with rabbitmq.memory_alarm():
        wait_until(lambda: "memory" in rabbitmq.eval("rabbit_alarm:get_alarms()"))
    wait_until(lambda: rabbitmq.eval("rabbit_alarm:get_alarms()") == "[]")


def test_a_thread_left_behind_fails_its_test_and_no_other(tmp_path: Path) -> None:
    shutil.copy(TESTS / "conftest.py", tmp_path)
    (tmp_path / "test_leak.py").write_text(LEAKS_A_THREAD)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "threads left behind: mesh-n-worker" in done.stdout
    assert "2 passed, 1 error" in done.stdout


def _nobody_answers(server: RabbitServer) -> bool:
    with socket.socket() as client:
        return client.connect_ex((server.host, server.port)) == errno.ECONNREFUSED


def _declare(url: str, queue: str) -> None:
    with kombu.Connection(url) as connection:
        connection.channel().queue_declare(queue, durable=True, auto_delete=False)
