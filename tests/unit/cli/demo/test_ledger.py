"""The books of the demo."""

from __future__ import annotations

import pytest

from miros_mesh.cli.demo.ledger import Account, Ledger, table


def test_an_event_is_entered_by_both_sides() -> None:
    sender, receiver = Ledger("a"), Ledger("b")
    for moves in (True, False):
        receiver.received(sender.sent(), moves=moves)
    assert sender.transmitted == 2
    assert [number for number, _ in receiver.handled] == [1, 2]
    assert receiver.moved == 1


def test_the_books_of_both_show_what_was_lost_and_what_came_twice() -> None:
    sender = Ledger("a", transmitted=2)
    receiver = Ledger("b", handled=[(2, 0.1), (2, 0.3)], moved=1)
    account = Account.between(sender, receiver)
    assert (account.transmitted, account.received, account.moved) == (2, 1, 1)
    assert (account.lost, account.duplicates) == (1, 1)
    assert account.median_latency_s == pytest.approx(0.2)


def test_the_table_has_a_column_for_each_direction() -> None:
    nothing = Account.between(Ledger("a"), Ledger("b"))
    some = Account("b", "a", 12, 12, 7, 0, 0, 0.0015)
    lines = table([nothing, some]).splitlines()
    assert lines[0].split() == ["a", "->", "b", "b", "->", "a"]
    assert [line.split()[-2:] for line in lines[1:6]] == [
        ["0", "12"],
        ["0", "12"],
        ["0", "7"],
        ["0", "0"],
        ["0", "0"],
    ]
    assert lines[-1].split() == ["median", "latency", "-", "1.50", "ms"]
