"""The console: what may be slow runs on its thread, and what it cannot take is counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from miros_mesh.networks.snoop.console import LINES, Console
from miros_mesh.wire.envelope import SnoopRecord
from support.post_office import LIMIT_S
from support.sealed import OURS, record
from support.waiting import wait_until

SAID_ONCE = "said once"


def always() -> bool:
    return True


class Watched:
    """A running console, and how many records it dropped."""

    def __init__(self) -> None:
        self.drops = 0
        self.console = Console("test", OURS.incarnation, dropped=self._drop)

    def _drop(self, records: int) -> None:
        self.drops += records


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    made.console.start()
    yield made
    made.console.stop(LIMIT_S)


@pytest.fixture
def console(watched: Watched) -> Console:
    return watched.console


def test_lines_are_printed_in_order_with_and_without_colours(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.plain([record("one", kind="spy", chart="other")])
    console.colored([record("two", kind="spy", chart="other")])
    console.colored([record("three", kind="spy", chart="own", incarnation=OURS.incarnation)])
    console.stop(LIMIT_S)

    assert capsys.readouterr().out.splitlines() == [
        " [+s] other one",
        " [+s] \033[95mother\033[0m two",
        " [+s] \033[94mown\033[0m three",
    ]


def test_a_callback_runs_on_the_consoles_thread(console: Console) -> None:
    seen: list[tuple[str, str]] = []
    watcher = console.calling(
        lambda one: seen.append((one.text, threading.current_thread().name)), always
    )

    watcher([record("shown")])
    console.stop(LIMIT_S)

    assert seen == [("shown", "mesh-test-snoop")]


def test_a_slow_reader_costs_records_which_are_counted_and_told(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a callback that does not return
    released, entered, seen = threading.Event(), threading.Event(), list[SnoopRecord]()

    def slow(one: SnoopRecord) -> None:
        entered.set()
        released.wait(LIMIT_S)
        seen.append(one)

    watcher = watched.console.calling(slow, always)
    watcher([record()])
    entered.wait(LIMIT_S)

    # When more comes than the queue holds
    for _ in range(LINES + 7):
        watcher([record()])

    # Then the rest is dropped at once, counted, and told when the reader goes on
    assert watched.drops == 7
    with caplog.at_level(logging.WARNING):
        released.set()
        watched.console.stop(LIMIT_S)
    assert len(seen) == LINES + 1
    assert [one.getMessage() for one in caplog.records] == [
        "7 snoop records were not shown: the reader is too slow"
    ]


def test_a_callback_that_fails_is_said_once_and_stops_nobody(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[SnoopRecord]()

    def failing(_: SnoopRecord) -> None:
        raise ValueError("a mistake of the application")

    bad, good = console.calling(failing, always), console.calling(seen.append, always)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            bad([record(chart="tal\033ker")])
            good([record()])
        console.stop(LIMIT_S)

    assert len(seen) == 3
    (said,) = caplog.records
    assert SAID_ONCE in said.getMessage()
    assert r"tal\x1bker" in said.getMessage()
    assert said.exc_info


def test_a_callback_gets_no_record_that_waited_while_it_was_no_more_wanted(
    console: Console,
) -> None:
    # Given a callback at work, behind which records wait
    seen, working, go_on = list[str](), threading.Event(), threading.Event()

    def work(one: SnoopRecord) -> None:
        seen.append(one.text)
        working.set()
        go_on.wait(LIMIT_S)

    wanted = threading.Event()
    wanted.set()
    watcher = console.calling(work, wanted.is_set)
    watcher([record("at work"), record("of the same delivery")])
    watcher([record("of the next")])
    assert working.wait(LIMIT_S)
    # When it is not wanted any more
    wanted.clear()
    go_on.set()
    # Then it gets none of them
    console.stop(LIMIT_S)
    assert seen == ["at work"]


def test_each_failing_callback_is_said(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    def first(_: SnoopRecord) -> None:
        raise ValueError

    def second(_: SnoopRecord) -> None:
        raise ValueError

    for callback in (first, second, first):
        console.calling(callback, always)([record()])
    console.stop(LIMIT_S)

    assert caplog.text.count(SAID_ONCE) == 2


def test_a_closed_terminal_stops_nobody(
    console: Console, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    seen = list[SnoopRecord]()
    with monkeypatch.context() as terminal:
        terminal.setattr("sys.stdout", Closed())
        console.plain([record()])
        console.plain([record()])
        console.calling(seen.append, always)([record()])
        wait_until(lambda: seen)

    (said,) = caplog.records
    assert said.getMessage().startswith("standard output is closed")


def test_start_and_stop_can_be_called_again(console: Console) -> None:
    console.start()

    console.stop(LIMIT_S)
    console.stop(LIMIT_S)


def test_a_console_that_never_started_stops_too() -> None:
    Watched().console.stop(LIMIT_S)
