"""Letters before the local store: they wait while it cannot be used, and nobody waits for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from miros_mesh.errors import PermissionDeniedError
from miros_mesh.networks.letters import letter_line
from miros_mesh.networks.letters.letter_line import LetterLine, LocalLetter
from miros_mesh.networks.letters.local import FILE, LocalLetters
from support.waiting import wait_until

LIMIT_S = 30.0
ERROR = PermissionDeniedError("no")


class Line:
    """A line before a store that is not patient, and what became of its letters."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.store = LocalLetters(folder, patience_s=0.01)
        self.stored: list[int] = []
        self.lost: list[tuple[int, str]] = []
        self.line = LetterLine(
            self.store,
            "node",
            stored=lambda letters, _: self.stored.append(len(letters)),
            lost=lambda letters, why: self.lost.append((len(letters), why)),
        )

    def add(self, *texts: str) -> None:
        self.line.add(letters(texts))

    @property
    def kept(self) -> list[str]:
        return [sealed.decode() for _, sealed in LocalLetters(self.file.parent).all()]

    def locked(self) -> sqlite3.Connection:
        """Let another program have the file until it rolls back."""
        self.store.add(b"first", node="node")
        other = sqlite3.connect(self.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other


def letters(texts: Sequence[str]) -> list[LocalLetter]:
    return [LocalLetter(each.encode(), "broker", "x", "topic", 1, ERROR) for each in texts]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path / "mine")
    yield made
    made.line.stop(LIMIT_S)


def test_letters_are_kept_in_order(line: Line) -> None:
    line.add("1", "2")
    line.add("3")
    line.line.stop(LIMIT_S)

    assert line.kept == ["1", "2", "3"]
    assert sum(line.stored) == 3
    assert line.lost == []


def test_a_locked_file_is_waited_for_and_then_takes_all_at_once(line: Line) -> None:
    other = line.locked()
    line.add("1")
    line.add("2")
    # The second attempt has both.
    line.add("3")
    other.execute("ROLLBACK")
    other.close()

    wait_until(lambda: sum(line.stored) == 3)
    assert line.kept == ["first", "1", "2", "3"]
    assert line.lost == []


def test_what_is_not_kept_at_the_end_is_lost(line: Line) -> None:
    other = line.locked()
    line.add("1", "2")

    line.line.stop(LIMIT_S)

    [(amount, why)] = line.lost
    assert amount == 2
    assert "locked" in why
    other.close()


def test_what_has_no_room_is_lost(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letter_line, "MOST_LETTERS", 3)
    monkeypatch.setattr(letter_line, "MOST_BYTES", 4)
    other = line.locked()

    line.add("1", "2", "3", "4")
    line.add("5")

    assert [amount for amount, _ in line.lost] == [1, 1]
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: sum(line.stored) == 3)
    line.add("12345")
    assert [amount for amount, _ in line.lost] == [1, 1, 1]
    assert line.kept == ["first", "1", "2", "3"]
