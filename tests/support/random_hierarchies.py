"""Charts of any form whose states do anything, and all that can be seen of them at each step."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st
from miros import Event, return_status, signals, spy_on
from miros.activeobject import PublishEvent
from miros.hsm import state_method_template

INNER: Final = ("ENTRY_SIGNAL", "EXIT_SIGNAL", "INIT_SIGNAL")
OUTER: Final = ("A", "B", "C", "D")
DEEPEST: Final = 6
MOST_CALLS: Final = 300
"""Of states, in one step: some charts go round for ever."""
MOST_POSTS: Final = 30
MOST_STEPS: Final = 60
MOST_WITHIN: Final = 2
"""So many events are run, each by a handler of the one before."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+")


class EndlessError(Exception):
    """A step that would not end."""


class BrokenError(Exception):
    """What a handler raises."""


@dataclass(frozen=True)
class Rule:
    """What a state does with a signal: some things, and then it returns a status."""

    signal: str
    kind: str
    target: int
    deeds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Spec:
    """A chart: its states, each within an earlier one or in none (-1), and what it is given."""

    style: str
    parents: tuple[int, ...]
    looks: tuple[str, ...]
    """Of each state: with `@spy_on`, without, or below another decorator."""
    rules: tuple[tuple[Rule, ...], ...]
    start: int
    live: bool
    events: tuple[tuple[str, str], ...]
    """Signals, and how they come: `fifo`, `lifo`, or after all that waits was handled."""


# In the frequencies in which they are to come.
_KINDS = [*["trans"] * 8, *["handled"] * 5, "super", "super", "unhandled", "unhandled", "ignored"]
_RARE = ["null", "none", "raise"]
_DEEDS = [
    *["fifo", "lifo", "defer", "recall", "recall", "scribble", "publish", "touch", "again"],
    *["is_in", "current_state", "off", "on", "live", "clear", "trace", "child_state"],
    *["next_rtc", "dispatch"],
]
_LOOKS: Final = ["spied"] * 4 + ["plain", "wrapped"]
_WAYS: Final = ["later"] * 3 + ["fifo", "lifo"]
# One draw each, since drawing is what takes the time. What is left out or shrunk is a whole one.
_dice: Final = st.integers(0, 2**20).map(random.Random)


def _rule(dice: random.Random) -> Rule:
    deeds = tuple(
        (dice.choice(_DEEDS), dice.randrange(12)) for _ in range(max(dice.randint(-3, 2), 0))
    )
    signal = dice.choice([*INNER, *OUTER, *OUTER])
    kind = dice.choice(_KINDS * 2 + _RARE)
    if signal in ("ENTRY_SIGNAL", "EXIT_SIGNAL") and kind == "trans" and dice.random() < 0.8:
        # By far most charts handle what they enter and leave.
        kind = "handled"
    return Rule(signal, kind, dice.randrange(12), deeds)


def _depth(parents: Sequence[int], state: int) -> int:
    return 0 if state < 0 else 1 + _depth(parents, parents[state])


@st.composite
def specs(draw: st.DrawFn, styles: Sequence[str] = ("functions", "methods", "factory")) -> Spec:
    """Draw a chart of one to nine states, at most six deep."""
    states = draw(st.lists(_dice, min_size=1, max_size=8))
    count = len(states)
    parents: list[int] = []
    for number, dice in enumerate(states):
        # Half of them within the one before: deep ones are rare by chance.
        parent = number - 1 if dice.random() < 0.5 else dice.randrange(-1, number)
        parents.append(parent if _depth(parents, parent) < DEEPEST else -1)
    # Many, since most charts that are drawn from few do nothing.
    rules = draw(st.lists(_dice, min_size=3 * count, max_size=3 * count + 12))
    of = [dice.randrange(count) for dice in rules]
    drawn = list(zip(of, map(_rule, rules), strict=True))
    events = draw(st.lists(_dice, min_size=4, max_size=9))
    whole = draw(_dice)
    alike = whole.choice([None, None, "spied", "spied", "plain"])
    return Spec(
        style=whole.choice(styles),
        parents=tuple(parents),
        looks=tuple(alike or dice.choice(_LOOKS) for dice in states),
        rules=tuple(
            tuple(replace(rule, target=rule.target % count) for of, rule in drawn if of == state)
            for state in range(count)
        ),
        start=whole.randrange(count),
        live=whole.random() < 0.5,
        events=tuple((dice.choice(OUTER), dice.choice(_WAYS)) for dice in events),
    )


class Actor:
    """Mixed into a chart: lets its states do what the spec says, and notes each call of them."""

    spec: Spec
    identity = True
    """Whether which event is which is noted: a chart of the network posts a copy of each."""

    def prepare(self: Any, spec: Spec) -> None:
        """Make the states."""
        self.spec, self.calls, self.posts, self.within = spec, 0, 0, 0
        self.log: list[tuple[Any, ...]] = []
        self.seen: dict[int, tuple[int, Event]] = {}
        self.shown: list[str] = []
        self.methods: dict[str, Any] = {}
        self.rules_of = [{rule.signal: rule for rule in rules} for rules in spec.rules]
        make = {"functions": _function, "methods": _method, "factory": _template}[spec.style]
        self.made = [make(self, number) for number in range(len(spec.parents))]
        if spec.style == "factory":
            for number, parent in enumerate(spec.parents):
                self.register_parent(self.made[number], self.place(parent))
        self.live_spy = self.live_trace = spec.live

    def place(self: Any, state: int) -> Any:
        """Return a state as the chart knows it, anew each time for a method."""
        if state < 0:
            return self.top
        if self.spec.style == "methods":
            return getattr(self, f"s{state}")
        return self.made[state]

    def __getattr__(self: Any, name: str) -> Any:
        methods = vars(self).get("methods", {})
        if name in methods:
            return methods[name].__get__(self)
        raise AttributeError(name)

    def top(self: Any, *args: Any) -> Any:
        """Be asked, as miros' own."""
        self.count()
        return super().top(*args)  # type: ignore[misc]

    def count(self: Any) -> None:
        """Count a call; raise when there are too many."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise EndlessError

    def behave(self: Any, number: int, e: Event) -> Any:
        """Do what a state does with an event."""
        self.count()
        where = describe(self.temp.fun), describe(getattr(self.state, "fun", None))
        self.log.append((number, e.signal, self._known(e), where, self.state_name_now()))
        rule = self.rules_of[number].get(e.signal_name)
        if rule is None:
            self.temp.fun = self.place(self.spec.parents[number])
            return return_status.SUPER
        for deed, argument in rule.deeds:
            self.do(deed, argument, e)
        return self.status(rule, number)

    def state_name_now(self: Any) -> Any:
        """Return what miros has noted of the state."""
        return getattr(self, "state_name", None), describe(getattr(self, "state_fn", None))

    def status(self: Any, rule: Rule, number: int) -> Any:
        """Return what the rule says."""
        if rule.kind == "trans":
            return self.trans(self.place(rule.target))
        if rule.kind == "super":
            self.temp.fun = self.place(self.spec.parents[number])
            return return_status.SUPER
        if rule.kind == "raise":
            raise BrokenError(f"{number} on {rule.signal}")
        return None if rule.kind == "none" else return_status[rule.kind.upper()]

    def do(self: Any, deed: str, argument: int, e: Event) -> None:
        """Do one of the things that a handler can do."""
        if deed in ("fifo", "lifo", "again", "recall"):
            self.posts += 1
            if self.posts > MOST_POSTS:
                return
        name = OUTER[argument % len(OUTER)]
        deeds: dict[str, Callable[[], Any]] = {
            "fifo": lambda: self.post_fifo(Event(signal=name, payload=argument)),
            "lifo": lambda: self.post_lifo(Event(signal=name)),
            "again": lambda: self.post_fifo(e),
            "defer": lambda: self.defer(e),
            "recall": self.recall,
            "scribble": lambda: self.scribble(f"note {argument}"),
            "publish": lambda: self.post_fifo(_publication(Event(signal=name))),
            "touch": lambda: self.identity and vars(e).update(touched=argument),
            "is_in": lambda: self.is_in(self.place(argument % len(self.made))),
            "child_state": lambda: self.child_state(self.place(argument % len(self.made))),
            "current_state": self.current_state,
            "next_rtc": lambda: self.nested(self.next_rtc),
            "dispatch": lambda: self.nested(lambda: self.dispatch(Event(signal=name))),
            "off": lambda: setattr(self, "instrumented", argument > 2),
            "on": lambda: setattr(self, "instrumented", True),
            "live": lambda: vars(self).update(live_spy=True, live_trace=argument > 5),
            "clear": lambda: self.clear_spy() if argument % 2 else self.clear_trace(),
            "trace": lambda: stripped(self.trace()),
        }
        done = deeds[deed]()
        self.log.append((deed, self._known(done) if isinstance(done, Event) else describe(done)))

    def nested(self: Any, run: Callable[[], Any]) -> Any:
        """Run another event before the handler is done, unless it is within others already."""
        if self.within == MOST_WITHIN:
            return None
        self.within += 1
        try:
            return run()
        finally:
            self.within -= 1

    def _known(self: Any, e: Event) -> Any:
        facts = [e.signal_name, repr(e.payload)]
        if not self.identity:
            return tuple(facts)
        # Kept, so that no later one has its identity.
        place, _ = self.seen.setdefault(id(e), (len(self.seen), e))
        return place, tuple(vars(e).items())


def _publication(event: Event) -> Event:
    """Return what miros posts to a chart that publishes while it starts."""
    return Event(signal="PUBLISH_META_SIGNAL", payload=PublishEvent(event, 1000))


def _function(chart: Any, number: int) -> Any:
    def state(chart: Any, e: Event) -> Any:
        return chart.behave(number, e)

    return _dressed(state, f"s{number}", chart.spec.looks[number])


def _method(chart: Any, number: int) -> Any:
    def state(self: Any, *args: Any) -> Any:
        return self.behave(number, args[-1])

    dressed = _dressed(state, f"s{number}", chart.spec.looks[number])
    chart.methods[f"s{number}"] = dressed
    return dressed


def _dressed(state: Any, name: str, look: str) -> Any:
    state.__name__ = name
    if look == "plain":
        return state
    spied = spy_on(state)
    if look == "spied":
        return spied

    @functools.wraps(spied)
    def wrapped(*args: Any) -> Any:
        args[0].log.append(("wrapped", name))
        return spied(*args)

    return wrapped


def _template(chart: Any, number: int) -> Any:
    made = chart.create(state=f"s{number}") if hasattr(chart, "create") else None
    method = made.to_method() if made else state_method_template(f"s{number}")
    # With none at all miros knows of no state.
    names = list(chart.rules_of[number]) or ["unused"]
    for place, name in enumerate(names):
        handler: Any = _Caught(chart, number).handle if place % 2 else _caught(number)
        chart.register_signal_callback(method, getattr(signals, name), handler)
    return method


def _caught(number: int) -> Any:
    def handle(chart: Any, e: Event) -> Any:
        return chart.behave(number, e)

    return handle


class _Caught:
    def __init__(self, chart: Any, number: int) -> None:
        self._chart, self._number = chart, number

    def handle(self, e: Event) -> Any:
        return self._chart.behave(self._number, e)


def describe(thing: Any) -> Any:
    """Name a state, and say whether it is the function itself; any other thing is as it is."""
    name = getattr(thing, "__name__", None)
    return thing if name is None else (name, hasattr(thing, "__wrapped__"))


def stripped(text: Any) -> Any:
    """Return a text without the times in it."""
    return _TIME.sub("TIME", text) if isinstance(text, str) else text


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or what it raises."""
    try:
        return stripped(call())
    except Exception as error:  # noqa: BLE001 - whatever it is, both are to raise it
        # Up to the address of a function, or the class of the chart.
        return type(error).__name__, re.split(" at 0x| of <", str(error))[0]


def seen_of(chart: Any) -> dict[str, Any]:
    """Return all that a program can see of a chart."""
    known = {
        "state": describe(getattr(chart.state, "fun", None)),
        "temp": describe(getattr(chart.temp, "fun", None)),
        "named": chart.state_name_now(),
        "flags": (chart.spied_on, chart.instrumented, chart.event.ignored),
        "queued": [(each.signal_name, each.payload) for each in chart.queue.deque],
        "deferred": [(each.signal_name, each.payload) for each in chart.defer_queue],
        "rtc": list(chart.rtc.spy),
        "tuples": [_facts(each) for each in chart.rtc.tuples],
        "full": list(chart.full.spy),
        "transitions": [_facts(each) for each in chart.full.trace],
        "shown": list(chart.shown),
        "log": list(chart.log),
    }
    times = [each.datetime for each in chart.rtc.tuples]
    last = chart.full.trace[-1].datetime if chart.full.trace else None
    known["when"] = [at for at, each in enumerate(times) if each is last]
    for call in (chart.spy, chart.trace, chart.spy_rtc, chart.queue_reflection):
        known[call.__name__] = outcome(call)
    return known


def _facts(noted: Any) -> tuple[Any, ...]:
    facts = noted._asdict()
    when = facts.pop("datetime")
    return type(noted).__name__, type(when).__name__, *facts.items()


def played(chart: Any, spec: Spec) -> Iterator[dict[str, Any]]:
    """Start a chart without a thread, hand it the events, and yield what is seen at each step."""
    chart.prepare(spec)
    chart.live_spy_callback = lambda line: chart.shown.append(stripped(line))
    chart.live_trace_callback = chart.live_spy_callback
    yield {"start": outcome(lambda: chart.start_at(chart.place(spec.start))), **seen_of(chart)}
    if chart.thread:
        chart.thread.join()
    for signal, how in spec.events:
        if how == "later":
            yield from _drained(chart)
        event = Event(signal=signal, payload=how)
        yield {"post": (chart.post_lifo if how == "lifo" else chart.post_fifo)(event)}
    yield from _drained(chart)
    yield {"now": outcome(chart.current_state), **seen_of(chart)}


def _drained(chart: Any) -> Iterator[dict[str, Any]]:
    for _ in range(MOST_STEPS):
        if not len(chart.queue):
            break
        chart.calls = 0
        yield {"step": outcome(chart.next_rtc), **seen_of(chart)}
