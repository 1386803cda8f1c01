"""One JSON file: locks, merges, and files that another program wrote."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from miros_mesh.discovery.sources.json_file import LARGEST_BYTES, JsonFile, Lock, merged


def json_file(path: Path, **settings) -> JsonFile:
    return JsonFile(path, **{"default": {"searches": {}}, **settings})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.json"


def test_a_file_that_is_not_there_holds_the_default(path: Path) -> None:
    assert json_file(path).read().data == {"searches": {}}


def test_an_empty_file_holds_the_default(path: Path) -> None:
    path.touch()
    assert json_file(path).read().data == {"searches": {}}


def test_an_update_is_put_over_what_is_there(path: Path) -> None:
    file = json_file(path)
    file.merge({"searches": {"a": {"addresses": ["10.0.0.1"], "found_at": 1}}})
    file.merge({"searches": {"b": {"addresses": []}, "a": {"found_at": 2}}})
    assert file.read().data == {
        "searches": {"a": {"addresses": ["10.0.0.1"], "found_at": 2}, "b": {"addresses": []}}
    }


def test_merging_leaves_what_it_merges_alone() -> None:
    old, new = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged(old, new) == {"a": {"b": 1, "c": 2}}
    assert (old, new) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_the_file_and_its_lock_are_for_their_owner_only(path: Path) -> None:
    previous = os.umask(0)
    try:
        file = json_file(path)
        lock = file.lock()
        file.merge({"a": 1})
        lock.release()
    finally:
        os.umask(previous)
    for each in (path, path.with_name("cache.json.lock")):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_a_file_that_others_may_read_is_so_no_more_once_it_was_written(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o644)
    json_file(path).merge({"a": 1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_writer_has_the_lock_and_the_next_one_waits_for_it(path: Path) -> None:
    first, second = json_file(path), json_file(path)
    held = first.lock()
    got: list[Lock] = []
    waiting = threading.Thread(target=lambda: got.append(second.lock()))
    waiting.start()
    first.merge({"a": 1})
    assert second.read().data["a"] == 1
    assert got == []
    held.release()
    waiting.join(10)
    got[0].release()


def test_a_released_lock_is_free_even_while_a_forked_process_has_its_descriptor(path: Path) -> None:
    file = json_file(path)
    lock = file.lock()
    assert lock._descriptor
    inherited = os.dup(lock._descriptor)
    try:
        lock.release()
        file.lock().release()
    finally:
        os.close(inherited)


def test_a_forked_process_does_not_release_the_lock_of_its_parent(path: Path) -> None:
    lock = json_file(path).lock()
    if not (child := os.fork()):
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with Path(f"{path}.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
    with Path(f"{path}.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"searches": 7}',
        b"[" * 100_000,
        b'{"a": "' + b"x" * LARGEST_BYTES + b'"}',
    ],
    ids=["torn", "list", "null", "no text", "foreign", "deep", "large"],
)
def test_a_corrupt_or_foreign_file_is_set_aside_said_and_rebuilt(
    path: Path, content: bytes, caplog
) -> None:
    caplog.set_level(logging.INFO)
    path.write_bytes(content)
    file = json_file(path, ours=lambda data: isinstance(data.get("searches"), dict))
    assert file.read().data == {"searches": {}}
    assert path.read_bytes() == content, "a reader changes nothing"

    file.merge({"searches": {"a": {}}})

    assert json.loads(path.read_bytes()) == {"searches": {"a": {}}}
    assert path.with_name("cache.json.set-aside").read_bytes() == content
    # Who warned of it once need not be warned again
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    assert "its old content is in cache.json.set-aside" in caplog.text


def test_a_foreign_file_that_was_never_read_is_warned_of_when_set_aside(path: Path, caplog) -> None:
    path.write_bytes(b"{")
    json_file(path).merge({"searches": {}})
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "its old content is in cache.json.set-aside" in record.getMessage()


def test_a_file_that_stays_of_no_use_is_said_once(path: Path, caplog) -> None:
    file = json_file(path)
    for content in ("{", "{", "[]", "[]"):
        path.write_text(content)
        file.read()
    assert caplog.text.count("is ignored") == 2


def test_what_is_no_file_is_not_waited_for_and_said(path: Path, caplog) -> None:
    os.mkfifo(path)
    file = json_file(path)
    assert file.read().data == {"searches": {}}
    path.unlink()
    path.symlink_to("/dev/zero")
    assert json_file(path).read().data == {"searches": {}}
    assert caplog.text.count("is ignored: it is no file") == 2


def test_a_file_is_foreign_that_is_nested_deeper_than_any_chart_reads(path: Path, caplog) -> None:
    path.write_text('{"more": %s}' % ("[" * 50 + "]" * 50))
    assert "more" in json_file(path).read().data
    path.write_text('{"more": %s}' % ("[" * 51 + "]" * 51))
    assert json_file(path).read().data == {"searches": {}}
    assert "nested deeper than 50 levels" in caplog.text


def test_tidying_has_the_last_word(path: Path) -> None:
    file = json_file(path, tidy=lambda data: {k: v for k, v in data.items() if k != "old"})
    assert file.merge({"old": 1, "new": 2}) == {"searches": {}, "new": 2}


def test_a_link_where_the_new_content_goes_is_not_followed(path: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    path.with_name("cache.json.new").symlink_to(treasure)
    with pytest.raises(OSError, match="symbolic"):
        json_file(path).merge({"a": 1})
    assert treasure.read_text() == "gold"


def test_a_file_that_is_only_read_needs_no_lock_file(path: Path) -> None:
    json_file(path).read()
    assert not path.with_name("cache.json.lock").exists()
