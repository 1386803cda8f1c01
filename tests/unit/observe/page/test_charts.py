"""What the page keeps of one chart: which of its states is within which."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from miros import Event, return_status, signals, spy_on
from miros.hsm import HsmWithQueues

from miros_mesh.observe.page.charts import MAX_TRANSITIONS, ChartSeen
from miros_mesh.wire.envelope import SnoopRecord

END = "<- Queued:(0) Deferred:(0)"
OUTERMOST = -1
MOST_STATES = 14


def told(lines: Iterable[str], first: int = 1) -> list[SnoopRecord]:
    """The records of lines of spy."""
    return [
        SnoopRecord("n", "till", "1nc", number, "spy", 0.0, line)
        for number, line in enumerate(lines, first)
    ]


def within(records: Iterable[SnoopRecord]) -> dict[str, str]:
    """What is known after them."""
    seen = ChartSeen()
    for record in records:
        seen.note(record)
    found: dict[str, str] = seen.as_json()["within"]
    return found


class Drawn:
    """A chart of random states, run by miros itself."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        count = dice.randint(2, MOST_STATES)
        # Most within the one before: only what is deep has long ways.
        self.parents = [
            number - 1 if dice.random() < 0.75 else dice.randrange(-1, number)
            for number in range(count)
        ]
        share = dice.choice([1.0, 0.9, 0.6])
        self.spied = [dice.random() < share for _ in range(count)]
        self.states = [self._state(number) for number in range(count)]

    def steps(self) -> Iterator[list[str]]:
        """The lines of each step of a run."""
        chart = HsmWithQueues()
        chart.start_at(self.dice.choice(self.states))
        # Of a chart none of whose states is spied on there is nothing.
        yield list(chart.rtc.spy)
        for _ in range(12):
            chart.post_fifo(Event(signal="go"))
            chart.next_rtc()
            yield list(chart.rtc.spy)

    def around(self, state: int) -> Iterator[int]:
        """The states around one, the innermost first."""
        while (state := self.parents[state]) != OUTERMOST:
            yield state

    def truth(self) -> dict[str, str]:
        """Of each state that is spied on the next such one around it."""
        outer = {
            number: next((each for each in self.around(number) if self.spied[each]), OUTERMOST)
            for number in range(len(self.parents))
        }
        return {f"s{n}": f"s{o}" for n, o in outer.items() if o != OUTERMOST and self.spied[n]}

    def _state(self, number: int) -> Any:
        dice = self.dice
        inside = [n for n in range(len(self.parents)) if number in self.around(n)]
        down = dice.choice(inside) if inside and dice.random() < 0.5 else None
        goes = dice.random() < 0.6
        handled = [s for s in (signals.ENTRY_SIGNAL, signals.EXIT_SIGNAL) if dice.random() < 0.5]

        def state(chart: Any, event: Any) -> Any:
            if event.signal in handled:
                return return_status.HANDLED
            if event.signal == signals.INIT_SIGNAL and down is not None:
                return chart.trans(self.states[down])
            if event.signal_name == "go":
                chart.scribble(f"go:s{dice.randrange(len(self.parents))}")
                if goes:
                    return chart.trans(dice.choice(self.states))
            outer = self.parents[number]
            chart.temp.fun = chart.top if outer == OUTERMOST else self.states[outer]
            return return_status.SUPER

        state.__name__ = f"s{number}"
        return spy_on(state) if self.spied[number] else state


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), lost=st.sets(st.integers(1, 300), max_size=20))
def test_no_state_is_ever_put_into_another_than_it_is_in(seed: int, lost: set[int]) -> None:
    drawn = Drawn(seed)
    records = told(line for step in drawn.steps() for line in step)
    truth = drawn.truth()
    for some in (records, [each for each in records if each.sequence not in lost]):
        assert within(some).items() <= truth.items()


OPEN = (
    *("open:closed", "SEARCH_FOR_SUPER_SIGNAL:serving", "SEARCH_FOR_SUPER_SIGNAL:closed"),
    *("EXIT_SIGNAL:closed", "ENTRY_SIGNAL:serving", "INIT_SIGNAL:serving"),
    *("SEARCH_FOR_SUPER_SIGNAL:waiting", "ENTRY_SIGNAL:waiting", "INIT_SIGNAL:waiting", END),
)
LEAVE = (
    *("leave:waiting", "SEARCH_FOR_SUPER_SIGNAL:away", "SEARCH_FOR_SUPER_SIGNAL:waiting"),
    *("EXIT_SIGNAL:waiting", "EXIT_SIGNAL:serving", "EXIT_SIGNAL:shop"),
    *("ENTRY_SIGNAL:away", "INIT_SIGNAL:away", END),
)
BEGIN = (
    *("START", "SEARCH_FOR_SUPER_SIGNAL:closed", "SEARCH_FOR_SUPER_SIGNAL:shop"),
    *("ENTRY_SIGNAL:shop", "ENTRY_SIGNAL:closed", "INIT_SIGNAL:closed", END),
)


def test_it_is_known_of_states_that_are_left_or_gone_down_to_together() -> None:
    assert within(told([END, *OPEN], 7)) == {"waiting": "serving"}
    assert within(told([*LEAVE])) == {"waiting": "serving", "serving": "shop"}
    assert within(told([*BEGIN])) == {"closed": "shop"}


def test_what_miros_enters_by_mistake_is_in_nothing() -> None:
    # From stock miros 4.2.1: down five states, and from the last down four more. Of these it leaves
    # one out, and enters one of the first five again.
    down = (
        *(f"ENTRY_SIGNAL:b{number}" for number in range(1, 6)),
        *("INIT_SIGNAL:b5", *(f"SEARCH_FOR_SUPER_SIGNAL:d{number}" for number in (4, 3, 2, 1))),
        *("ENTRY_SIGNAL:b2", "ENTRY_SIGNAL:d2", "ENTRY_SIGNAL:d3", "ENTRY_SIGNAL:d4"),
        *("INIT_SIGNAL:d4", END),
    )
    way = ["b5", "d1", "d2", "d3", "d4"]
    assert within(told(down)) == {inner: outer for outer, inner in pairwise(way)}


def test_a_step_of_which_a_line_is_missing_says_nothing() -> None:
    # Who joins in the middle of one, too.
    assert within(told([*LEAVE], 40)) == {}
    truth = {"waiting": "serving", "serving": "shop"}.items()
    for lost in range(1, len(LEAVE)):
        known = within(each for each in told(LEAVE) if each.sequence != lost).items()
        assert known <= truth
        assert known == within(told(LEAVE[: lost - 1])).items()


def test_two_states_of_one_name_are_in_none() -> None:
    other = ("EXIT_SIGNAL:waiting", "EXIT_SIGNAL:cellar", END)
    assert within(told([*LEAVE, *other, *LEAVE])) == {"serving": "shop"}
    # Nor is one within itself, whatever is said.
    circle = ("EXIT_SIGNAL:shop", "EXIT_SIGNAL:waiting", END, "EXIT_SIGNAL:a", "EXIT_SIGNAL:a", END)
    assert within(told([*LEAVE, *circle])) == {"waiting": "serving", "serving": "shop"}


def test_names_that_are_made_up_do_not_fill_the_memory() -> None:
    lines = (f"EXIT_SIGNAL:s{number}" for number in range(MAX_TRANSITIONS * 2))
    assert len(within(told(lines))) == MAX_TRANSITIONS
