"""`CacheFileChart`: requests and answers, waiting for a lock, folders that cannot be used."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from miros import Event

from miros_mesh.discovery.signals import (
    CACHE,
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CacheFileReadPayload,
    CacheWritePayload,
)
from miros_mesh.discovery.sources import json_file
from miros_mesh.discovery.sources.cache_file import CacheFileChart
from miros_mesh.discovery.sources.json_file import JsonFile
from support.discovery_field import ORIGIN, ears, publish, running, trace_of, wait_for_trace
from support.waiting import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.json"


def chart_of(path: Path, **settings) -> CacheFileChart:
    return CacheFileChart(path, origin=ORIGIN, **settings)


def test_a_request_to_read_is_answered_with_what_the_file_holds(path: Path) -> None:
    path.write_text('{"a": 1, "time_out_in_minutes": 30}')
    with ears(CACHE) as heard, running(chart_of(path)) as chart:
        publish(chart, CACHE_FILE_READ, CacheFileReadPayload(str(path), ORIGIN))
        cache = heard.wait_for(CACHE)
        wait_for_trace(
            chart,
            "[cache.json] e->start_at() top->file_access_waiting",
            "[cache.json] e->file_read() file_access_waiting->file_read",
            "[cache.json] e->read_successful() file_read->file_access_waiting",
        )
    assert cache.dict == {"a": 1, "time_out_in_minutes": 30}
    assert cache.file_name == str(path)
    assert cache.last_modified == path.stat().st_mtime
    assert not cache.expired


def test_a_request_without_a_payload_is_for_every_file(path: Path) -> None:
    with ears(CACHE) as heard, running(chart_of(path, default_json='{"hosts": []}')) as chart:
        publish(chart, CACHE_FILE_READ)
        assert heard.wait_for(CACHE).dict == {"hosts": []}


def test_a_request_for_another_file_or_of_another_node_is_not_answered(path: Path) -> None:
    with ears(CACHE) as heard, running(chart_of(path)) as chart:
        publish(chart, CACHE_FILE_READ, CacheFileReadPayload("another.json", ORIGIN))
        publish(chart, CACHE_FILE_READ, CacheFileReadPayload(str(path), "another-node"))
        publish(chart, CACHE_FILE_READ, CacheFileReadPayload(str(path), ORIGIN))
        heard.wait_for(CACHE)
        wait_until(lambda: chart.idle)
        assert len(heard.of(CACHE)) == 1


@pytest.mark.parametrize(
    ("content", "age_s", "expired"),
    [
        ('{"time_out_in_minutes": 1}', 0, False),
        ('{"time_out_in_minutes": 1}', 61, True),
        ('{"time_out_in_minutes": 1}', -3600, True),
        ('{"time_out_in_minutes": "long"}', 0, True),
        ("{}", 0, True),
    ],
)
def test_a_file_expires_as_it_says(path: Path, content: str, age_s: float, expired: bool) -> None:
    path.write_text(content)
    then = time.time() - age_s
    os.utime(path, (then, then))
    with ears(CACHE) as heard, running(chart_of(path)) as chart:
        publish(chart, CACHE_FILE_READ)
        assert heard.wait_for(CACHE).expired is expired


def test_what_is_written_is_merged_with_what_is_there(path: Path) -> None:
    path.write_text('{"a": {"x": 1}}')
    with running(chart_of(path)) as chart:
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": {"y": 2}}, str(path), ORIGIN))
        wait_for_trace(
            chart,
            "[cache.json] e->start_at() top->file_access_waiting",
            "[cache.json] e->file_write() file_access_waiting->file_write",
            "[cache.json] e->write_successful() file_write->file_access_waiting",
        )
    assert json.loads(path.read_text()) == {"a": {"x": 1, "y": 2}}


def test_what_waits_to_be_written_goes_in_one_write(path: Path) -> None:
    with running(chart_of(path)) as chart:
        held = JsonFile(path, default={}).lock()
        for number in range(100):
            update = {f"key_{number}": number}
            chart.post_fifo(
                Event(signal=CACHE_FILE_WRITE, payload={"dict": update, "file_name": str(path)})
            )
        wait_until(lambda: len(chart._updates) == 100)
        held.release()
        wait_until(lambda: chart.idle)
        writes = [line for line in trace_of(chart) if "write_successful" in line]
    assert len(json.loads(path.read_text())) == 100
    assert len(writes) <= 2


def test_a_locked_file_is_read_all_the_same_and_written_later(path: Path) -> None:
    with ears(CACHE) as heard, running(chart_of(path)) as chart:
        held = JsonFile(path, default={}).lock()
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
        publish(chart, CACHE_FILE_READ)
        heard.wait_for(CACHE)
        assert chart.state_name == "file_access_waiting"
        assert not path.exists()
        held.release()
        wait_until(lambda: chart.idle)
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_lock_that_is_not_released_is_logged_and_holds_one_thread(path: Path, caplog) -> None:
    # Given a process that hangs with the lock
    held = JsonFile(path, default={}).lock()
    with running(chart_of(path, lock_timeout_s=0.05)) as chart:
        # When there is something to write again and again
        for count in (1, 2, 3):
            publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": count}, str(path), ORIGIN))
            wait_until(lambda count=count: chart._waits == count and not chart._waiting)
        # Then it is said, and one thread waits for it all
        assert caplog.text.count("its lock was not free within 0.05 s") == 1
        assert sum(t.name.endswith("-aside") for t in threading.enumerate()) == 1
        assert not path.exists()
        # And once the lock is free, what comes next is written
        held.release()
        wait_until(lambda: not chart._queued)
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 9}, str(path), ORIGIN))
        wait_until(path.exists)
    assert json.loads(path.read_text()) == {"a": 9}


def test_a_chart_that_stops_while_it_waits_for_the_lock_leaves_it_to_others(path: Path) -> None:
    held = JsonFile(path, default={}).lock()
    with running(chart_of(path)) as chart:
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
        wait_until(lambda: chart._queued)
    held.release()
    JsonFile(path, default={}).lock().release()
    assert not path.exists()


def test_a_folder_that_cannot_be_used_is_said_once_and_the_default_is_told(
    tmp_path: Path, caplog
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "cache.json"
    with ears(CACHE) as heard, running(chart_of(path, default_json='{"a": 0}')) as chart:
        for count in (1, 2):
            publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
            publish(chart, CACHE_FILE_READ)
            assert heard.wait_for(CACHE, count).dict == {"a": 0}
        wait_until(lambda: chart.idle)
        assert chart.thread.is_alive()
    assert caplog.text.count("cannot be used") == 1


def test_two_charts_of_one_process_share_a_file(path: Path) -> None:
    with running(chart_of(path), chart_of(path)) as chart:
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
        publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"b": 1}, str(path), ORIGIN))
        wait_until(lambda: path.exists() and json.loads(path.read_text()) == {"a": 1, "b": 1})


def test_a_chart_that_stops_with_the_lock_gives_it_back(path: Path) -> None:
    with running(chart_of(path)) as chart:
        for _ in range(50):
            publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
    JsonFile(path, default={}).lock().release()


def test_without_locks_a_file_is_read_and_not_written_which_is_said_once(
    path: Path, caplog, monkeypatch
) -> None:
    path.write_text('{"a": 0}')
    monkeypatch.setattr(json_file, "HAS_FILE_LOCKS", False)
    with ears(CACHE) as heard, running(chart_of(path)) as chart:
        for count in (1, 2):
            publish(chart, CACHE_FILE_WRITE, CacheWritePayload({"a": 1}, str(path), ORIGIN))
            publish(chart, CACHE_FILE_READ)
            assert heard.wait_for(CACHE, count).dict == {"a": 0}
        wait_until(lambda: chart.idle)
        assert chart.thread.is_alive()
    assert json.loads(path.read_text()) == {"a": 0}
    assert caplog.text.count("flock") == 1
