"""The account that `make chaos` gives is a true one."""

from __future__ import annotations

from chaos.laps import Lap, table

GOOD = Lap("cable cut", 100, 200, 0, 0, 0, [1.5])
WORSE = Lap("cable cut", 50, 97, 3, 0, 0, [0.5], aside=4)
EXCUSED = Lap("receiver killed", 100, 200, 0, 7, 0, [0.1], excused=7)


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_lap_is_good_when_each_event_came_once_in_order_and_soon() -> None:
    assert not GOOD.harmed


def test_a_lap_is_harmed_by_whatever_breaks_the_promise() -> None:
    assert WORSE.harmed
    assert Lap("", 1, 2, 0, 1, 0, [0.1]).harmed
    assert Lap("", 1, 2, 0, 0, 1, [0.1]).harmed
    assert Lap("", 1, 2, 0, 0, 0, []).harmed


def test_copies_of_a_frame_whose_receiver_ended_are_no_harm() -> None:
    assert not EXCUSED.harmed
    assert Lap("", 1, 2, 0, 8, 0, [0.1], excused=7).harmed


def test_the_table_has_a_row_for_each_fault_and_one_for_all() -> None:
    _, _, cut, killed, everything = map(cells, table([GOOD, EXCUSED, WORSE]).splitlines())
    assert cut == ["cable cut", "2", "150", "4", "297", "3", "0", "0", "1.00", "1.50"]
    assert killed == ["receiver killed", "1", "100", "0", "200", "0", "7", "0", "0.10", "0.10"]
    assert everything == ["all of them", "3", "250", "4", "497", "3", "7", "0", "", "1.50"]
