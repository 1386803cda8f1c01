"""The books of the demo."""

from __future__ import annotations

import pytest

from miros_mesh.cli.demo.ledger import Account, Ledger, table


def test_an_event_is_entered_by_both_sides() -> None:
    sender, receiver = Ledger("a"), Ledger("b")
    for _ in range(2):
        receiver.received(sender.sent())
    assert list(sender.sent_at) == [1, 2]
    assert [number for number, _ in receiver.handled] == [1, 2]


def test_only_what_was_sent_while_both_listened_is_expected() -> None:
    sender = Ledger("a", sent_at={1: 0.5, 2: 1.5, 3: 1.6, 4: 9.0})
    receiver = Ledger("b", handled=[(1, 7.0), (2, 0.1), (2, 0.3)])
    account = Account.between(sender, receiver, begin=1.0, end=2.0)
    assert (account.transmitted, account.received, account.lost, account.duplicates) == (2, 1, 1, 1)
    assert account.median_latency_s == pytest.approx(0.2)


def test_the_table_has_a_column_for_each_direction() -> None:
    nothing = Account.between(Ledger("a"), Ledger("b"), 0.0, 1.0)
    some = Account("b", "a", 12, 12, 0, 0, 0.0015)
    lines = table([nothing, some]).splitlines()
    assert lines[0].split() == ["a", "->", "b", "b", "->", "a"]
    assert [line.split()[-2:] for line in lines[1:5]] == [
        ["0", "12"],
        ["0", "12"],
        ["0", "0"],
        ["0", "0"],
    ]
    assert lines[-1].split() == ["median", "latency", "-", "1.50", "ms"]
