"""The queue of a chart, with many threads that post to it."""

from __future__ import annotations

import threading

from miros import Event

from miros_mesh.statechart.mailbox import Mailbox

PLACES = 500


def full() -> tuple[Mailbox, list[Event]]:
    box, events = Mailbox(), [event(number) for number in range(PLACES)]
    for each in events:
        assert box.put(each) is None
    return box, events


def event(number: int = 0) -> Event:
    return Event(signal="POSTED", payload=number)


def test_events_come_out_in_the_order_in_which_they_were_posted() -> None:
    box, events = Mailbox(), [event(number) for number in range(4)]
    for each in events[1:]:
        box.append(each)
    box.appendleft(events[0])
    assert [box.popleft() for _ in events] == events


def test_a_full_mailbox_gives_back_what_it_has_no_place_for() -> None:
    box, events = full()
    late = event(-1)
    assert box.put(late) is late
    box.append(late)
    box.appendleft(late)
    assert list(box.deque) == events


def test_an_event_may_take_the_place_of_the_newest_one() -> None:
    box, events = full()
    late = event(-1)
    assert box.put(late, displace=True) is events[-1]
    assert list(box.deque) == [*events[:-1], late]


def test_what_many_threads_post_is_all_there_and_wakes_the_chart_as_often() -> None:
    box = Mailbox()
    threads = [
        threading.Thread(target=lambda: [box.put(event()) for _ in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(box) == box.qsize() == 400


def test_a_place_that_becomes_free_while_the_chart_is_woken_keeps_the_order() -> None:
    # Given a full mailbox of which the chart's thread has taken a token and no event yet
    box, events = full()
    box.wait()
    box.popleft()
    # When two more come
    late = [event(-1), event(-2)]
    box.append(late[0])
    box.wait()
    box.popleft()
    box.append(late[1])
    # Then they are the last ones, each with a token
    assert list(box.deque) == [*events[2:], *late]
    assert box.qsize() == PLACES


def test_a_closed_mailbox_gives_back_what_it_held_and_takes_nothing() -> None:
    box, held, late = Mailbox(), event(), event()
    box.append(held)
    assert box.close() == [held]
    assert box.put(late) is late
    assert box.put(late, displace=True) is late
    box.appendleft(late)
    assert len(box) == 0


def test_a_cleared_mailbox_wakes_for_nothing_and_goes_on() -> None:
    box, _ = full()

    box.clear()

    assert (box.qsize(), len(box.deque)) == (0, 0)
    later = event()
    box.append(later)
    assert box.wait(timeout=1) == "ready"
    box.task_done()
    assert box.popleft() is later
