"""One JSON file: locks, merges, and files that somebody else wrote."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from miros_mesh.discovery.json_file import LARGEST_BYTES, JsonFile, merged


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
        lock = file.try_lock(alone=True)
        assert lock
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


def test_readers_share_the_lock_and_a_writer_has_it_alone(path: Path) -> None:
    first, second = json_file(path), json_file(path)
    reading = first.try_lock(alone=False)
    also_reading = second.try_lock(alone=False)
    assert reading
    assert also_reading
    assert second.try_lock(alone=True) is None
    reading.release()
    also_reading.release()
    writing = second.try_lock(alone=True)
    assert writing
    assert first.try_lock(alone=False) is None
    writing.release()


def test_a_released_lock_is_free_even_while_a_forked_process_has_its_descriptor(path: Path) -> None:
    file = json_file(path)
    lock = file.try_lock(alone=True)
    assert lock
    inherited = os.dup(lock._descriptor)
    try:
        lock.release()
        again = file.try_lock(alone=True)
        assert again
        again.release()
    finally:
        os.close(inherited)


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
    path.write_bytes(content)
    file = json_file(path, ours=lambda data: isinstance(data.get("searches"), dict))
    assert file.read().data == {"searches": {}}
    assert path.read_bytes() == content, "a reader changes nothing"

    file.merge({"searches": {"a": {}}})

    assert json.loads(path.read_bytes()) == {"searches": {"a": {}}}
    assert path.with_name("cache.json.set-aside").read_bytes() == content
    assert "it is now cache.json.set-aside" in caplog.text


def test_a_file_that_stays_of_no_use_is_said_once(path: Path, caplog) -> None:
    file = json_file(path, read_only=True)
    for content in ("{", "{", "[]", "[]"):
        path.write_text(content)
        file.read()
    assert caplog.text.count("is of no use") == 2


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
    lock = json_file(path, read_only=True).try_lock(alone=False)
    assert lock
    lock.release()
    assert not path.with_name("cache.json.lock").exists()
