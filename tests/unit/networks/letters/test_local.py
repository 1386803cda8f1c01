"""Dead letters of this machine: bounded, private, shared by processes."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.networks.letters.local import FILE, LocalLetters
from support.letter_writer import add_some
from support.rights import without_rights

PATIENCE_S = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Name a folder that is not there yet."""
    return tmp_path / "mine"


def test_letters_come_back_in_order_under_their_numbers(home: Path) -> None:
    LocalLetters(home).add(b"one", b"two", node="n")
    LocalLetters(home).add(b"three", node="n")

    assert LocalLetters(home).all() == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_nothing_is_made_before_the_first_letter(home: Path) -> None:
    letters = LocalLetters(home)

    assert letters.all() == []
    assert not letters.remove(1)
    assert not home.exists()


def test_only_its_user_can_read_it(home: Path) -> None:
    LocalLetters(home).add(b"one", node="n")

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in home.iterdir()} == {0o600}


def test_the_oldest_go_when_there_are_too_many(home: Path) -> None:
    letters = LocalLetters(home, most_letters=3)
    assert letters.add(b"1", b"2", b"3", node="n") == 0

    assert letters.add(b"4", b"5", node="n") == 2
    assert [sealed for _, sealed in letters.all()] == [b"3", b"4", b"5"]


def test_the_oldest_go_when_they_are_too_large(home: Path) -> None:
    letters = LocalLetters(home, most_bytes=100)
    letters.add(b"a" * 40, b"b" * 40, node="n")

    assert letters.add(b"c" * 50, node="n") == 1
    assert [sealed[:1] for _, sealed in letters.all()] == [b"b", b"c"]


def test_a_number_is_never_given_to_another_letter(home: Path) -> None:
    letters = LocalLetters(home)
    letters.add(b"one", node="n")

    assert letters.remove(1)
    assert not letters.remove(1)
    letters.add(b"two", node="n")
    assert letters.all() == [(2, b"two")]


def test_threads_and_processes_add_to_one_file(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=add_some, args=(home, f"process {n}")) for n in range(2)]
    for other in others:
        other.start()
    with ThreadPoolExecutor(3) as pool:
        for thread in [pool.submit(add_some, home, f"thread {n}") for n in range(3)]:
            thread.result(PATIENCE_S)
    for other in others:
        other.join(PATIENCE_S)

    assert [other.exitcode for other in others] == [0, 0]
    kept = [sealed.decode() for _, sealed in LocalLetters(home).all()]
    assert len(set(kept)) == 50
    own = [each for each in kept if each.startswith("thread 1")]
    assert own == [f"thread 1 {number}" for number in range(10)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    letters = LocalLetters(tmp_path / "file" / "mine")

    with pytest.raises(EmbeddedStoreError, match="file/mine"):
        letters.add(b"one", node="n")


def test_a_file_that_others_can_read_is_refused(home: Path) -> None:
    LocalLetters(home).add(b"one", node="n")
    (home / FILE).chmod(0o644)

    with pytest.raises(EmbeddedStoreError, match="open to other users"):
        LocalLetters(home).all()


def test_a_folder_that_may_not_be_entered_is_named(home: Path) -> None:
    home.mkdir(mode=0o700)
    letters = LocalLetters(home)

    with without_rights(), pytest.raises(EmbeddedStoreError, match="cannot be examined"):
        letters.all()
    with without_rights(), pytest.raises(EmbeddedStoreError, match="Permission denied"):
        letters.add(b"one", node="n")


def test_a_damaged_file_is_named(home: Path) -> None:
    letters = LocalLetters(home)
    letters.add(b"one", node="n")
    (home / FILE).write_bytes(b"no database" * 500)

    with pytest.raises(EmbeddedStoreError, match=r"dead_letters\.db cannot be used"):
        letters.add(b"two", node="n")


def test_a_file_that_stays_locked_is_given_up(home: Path) -> None:
    LocalLetters(home).add(b"one", node="n")
    with sqlite3.connect(home / FILE, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(EmbeddedStoreError, match="locked"):
            LocalLetters(home, patience_s=0.1).add(b"two", node="n")
        other.execute("ROLLBACK")
    other.close()
    LocalLetters(home).add(b"two", node="n")

    assert [sealed for _, sealed in LocalLetters(home).all()] == [b"one", b"two"]
