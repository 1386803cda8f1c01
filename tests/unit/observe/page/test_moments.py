"""What led to what among the last events, and what is kept of them."""

from __future__ import annotations

import msgspec

from miros_mesh.observe.page.moments import Moments
from miros_mesh.wire.envelope import SnoopRecord


def step(
    chart: str, event: str, *, cause: str | None = None, kind: str = "trace", time: float = 1.0
) -> SnoopRecord:
    record = SnoopRecord("node", chart, f"run-{chart}", 1, "trace", time, "go:here", "go", "a", "b")
    return msgspec.structs.replace(record, kind=kind, event_id=event, cause=cause)


ORDER = step("desk", "run-desk/desk/local-1", time=1.0)
CHARGE = step("till", "run-desk/desk/1", cause="run-desk/desk/local-1", time=1.5)
CHARGED = step("desk", "run-till/till/1", cause="run-desk/desk/1", time=1.75)
SHIP = step("depot", "run-desk/desk/2", cause="run-till/till/1", time=2.0)


def noted(*records: SnoopRecord, limit: int = 100) -> Moments:
    moments = Moments(limit)
    for record in records:
        moments.note(record)
    return moments


def test_causes_and_effects_are_found_across_charts_whatever_comes_first() -> None:
    moments = noted(SHIP, CHARGED, CHARGE, ORDER)
    charge = next(each for each in moments.newest() if each.record is CHARGE)
    assert [each.record for each in moments.chain(charge)] == [ORDER, CHARGE]
    assert [(far, each.record) for far, each in moments.effects(charge)] == [
        (1, CHARGED),
        (2, SHIP),
    ]


def test_the_way_takes_from_the_cause_to_the_effect() -> None:
    moments = noted(ORDER, CHARGE)
    assert [moments.latency_s(each) for each in moments.newest()] == [0.5, None]


def test_a_way_is_known_when_the_second_of_both_ends_is_whichever_that_is() -> None:
    moments = Moments()
    met = []
    for record in (CHARGE, ORDER, SHIP, CHARGED):
        moment = moments.note(record)
        assert moment
        met.append([each.record for each in moments.met(moment)])
    assert met == [[], [CHARGE], [], [CHARGED, SHIP]]


def test_an_event_is_one_moment_and_told_anew_once_its_transition_is_known() -> None:
    spied = msgspec.structs.replace(ORDER, kind="spy", from_state=None, to_state=None)
    moments = noted(spied, spied, ORDER, ORDER)
    (moment,) = moments.newest()
    assert moment.transition
    assert moments.total == 2
    told, left_out = moments.since(1, 10)
    assert (told, left_out) == ([moment], 0)


def test_records_of_no_event_are_no_moments() -> None:
    note = msgspec.structs.replace(ORDER, kind="scribble", event_id=None)
    assert len(noted(note)) == 0


def test_a_circle_of_causes_ends() -> None:
    one = step("a", "run-a/a/local-1", cause="run-a/a/local-2")
    two = step("a", "run-a/a/local-2", cause="run-a/a/local-1")
    moments = noted(one, two)
    second, first = moments.newest()
    assert [each.record for each in moments.chain(second)] == [one, two]
    assert [each.record for each in moments.chain(first)] == [two, one]
    assert [each.record for _, each in moments.effects(first)] == [two]


def test_the_oldest_are_forgotten_with_all_that_is_kept_of_them() -> None:
    moments = Moments(5)
    for number in range(100):
        cause = f"run-a/a/local-{number - 1}" if number else None
        moments.note(step("a", f"run-a/a/local-{number}", cause=cause))
    assert len(moments) == 5
    assert len(moments._numbers) == len(moments._effects) == 5
    last = next(moments.newest())
    assert len(moments.chain(last)) == 5


def test_a_reader_that_is_slow_gets_a_sample_and_how_many_it_lacks() -> None:
    moments = noted(*(step("a", f"run-a/a/local-{number}") for number in range(100)))
    told, left_out = moments.since(0, 10)
    assert [each.number for each in told] == list(range(1, 101, 10))
    assert left_out == 90
    assert moments.since(100, 10) == ([], 0)


def test_what_was_forgotten_before_it_was_told_counts_as_left_out() -> None:
    moments = noted(*(step("a", f"run-a/a/local-{number}") for number in range(100)), limit=20)
    told, left_out = moments.since(0, 50)
    assert len(told) == 20
    assert left_out == 80
