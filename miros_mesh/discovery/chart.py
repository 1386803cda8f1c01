"""`DiscoveryChart`: the base of every chart of discovery, with declared states and signals."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

from miros import Event, Factory, return_status, signals

from miros_mesh.address import Endpoint
from miros_mesh.discovery.safety.entrance import Entrance
from miros_mesh.discovery.safety.mailbox import DiscoveryMailbox
from miros_mesh.discovery.safety.plain import Reader
from miros_mesh.discovery.safety.restarts import Restarts
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY, ConnectionDiscoveryPayload
from miros_mesh.discovery.threads import Alarm, DiscoveryThreads
from miros_mesh.observer import Observer
from miros_mesh.statechart import fabric, signal_table
from miros_mesh.statechart.safe_chart import SafeChart

ENTRY: Final = "ENTRY_SIGNAL"
INIT: Final = "INIT_SIGNAL"
EXIT: Final = "EXIT_SIGNAL"

# A handler returns at once, so a chart that takes longer hangs.
JOIN_TIMEOUT_S = 5.0

Handler = TypeVar("Handler", bound=Callable[..., str | None])


@dataclass(frozen=True)
class Reaction:
    """In which state a handler answers which signal, and to which states that may lead."""

    state: str
    signal: str
    to: tuple[str, ...]


def on(state: str, signal: str, *, to: str | tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Declare a handler. It returns the name of the next state, one of `to`, or None to stay."""
    targets = (to,) if isinstance(to, str) else to

    def declare(handler: Handler) -> Handler:
        # Python applies the innermost decorator first; in front, they stand as they are written.
        vars(handler).setdefault("reactions", []).insert(0, Reaction(state, signal, targets))
        return handler

    return declare


def reactions(chart: type[DiscoveryChart]) -> Iterator[tuple[Callable[..., str | None], Reaction]]:
    """Yield every handler of a kind of chart with each declaration, those of bases first."""
    for kind in reversed(chart.__mro__):
        for handler in vars(kind).values():
            for reaction in getattr(handler, "reactions", ()):
                yield handler, reaction


class DiscoveryChart(SafeChart, Factory):
    """A chart that begins when it is made and ends with `stop`.

    If a handler raises all the same, it begins again in its first state after a pause that grows,
    with its fields; what was posted or published meanwhile waits for it.

    `NEST` names its states, each with the state around it; it begins in the first one. `HEARS` and
    `PUBLISHES` name its public signals. `READS` has what reads their payloads before a handler gets
    them: a program may publish anything under these names.
    """

    NEST: ClassVar[tuple[tuple[str, str | None], ...]]
    HEARS: ClassVar[tuple[str, ...]] = ()
    READS: ClassVar[Mapping[str, Reader]] = MappingProxyType({})
    PUBLISHES: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        name: str,
        *,
        threads: DiscoveryThreads | None = None,
        entrance: Entrance | None = None,
        origin: str | None = None,
        observer: Observer | None = None,
        live_trace: bool = False,
        live_spy: bool = False,
    ) -> None:
        super().__init__(name)
        # Empty: it hears what is for every node, and publishes for every node.
        self.origin = secrets.token_hex(6) if origin is None else origin
        self.observer = observer or Observer()
        self.live_trace = live_trace
        self.live_spy = live_spy
        self.threads = threads or DiscoveryThreads(self.origin)
        self.entrance = entrance or Entrance()
        # A chart made alone, as in a test or a program, has threads of its own and ends them.
        self._owns_threads = threads is None
        # The alarm of each signal that `later` posts. Changed on the chart's thread; `dismiss`, on
        # any thread, copies it in one step.
        self._alarms: dict[str, Alarm] = {}
        # Lines for the live trace that the present step has noted; the chart's thread only.
        self._notes: list[str] = []
        self._restarts = Restarts(name, self._begin_again, self.threads.after)
        # Whether `chart_died` was told, and not yet that it is over. Set on the chart's thread,
        # cleared on the one that starts it again, or at its stop.
        self._dead = False
        self._open_mailbox()
        # As those of the trace: of several charts a line without a name says too little.
        self.register_live_spy_callback(
            lambda line: print(f"[{name}] {line}")  # noqa: T201 - where miros prints the rest
        )

    @property
    def common(self) -> dict[str, Any]:
        """The arguments by which the charts that this one makes become those of the same node."""
        return {
            "threads": self.threads,
            "entrance": self.entrance,
            "origin": self.origin,
            "observer": self.observer,
            "live_trace": self.live_trace,
            "live_spy": self.live_spy,
        }

    @property
    def ended(self) -> bool:
        """Whether the chart was stopped or dismissed, and does not begin again."""
        return self._restarts.ended

    def begin(self) -> None:
        """Build the states and start; the last line of a chart's constructor.

        Raises `ValueError` for a declaration that would end the chart later.
        """
        if problems := list(_problems(type(self))):
            raise ValueError(f"{type(self).__name__} cannot start: {'; '.join(problems)}")
        for state, _ in self.NEST:
            self.create(state)
        for handler, reaction in reactions(type(self)):
            state_blueprint = self.states[reaction.state]
            state_blueprint.catch(signal_table.number(reaction.signal), _answer(handler, reaction))
        for state, parent in self.NEST:
            around = self.states[parent].state_method if parent else None
            self.nest(self.states[state].state_method, parent=around)
        # Before the start: the first entry makes charts and asks them, and they may answer before
        # this chart's thread runs.
        self._subscribe()
        self._run()

    def _open_mailbox(self) -> None:
        # miros has made one queue under these two names; ours takes the place of both.
        self.queue = self.locking_deque = DiscoveryMailbox(self.name, self.origin)

    def _subscribe(self) -> None:
        for signal in self.HEARS:
            self.subscribe(Event(signal=signal))

    def _run(self) -> None:
        # Runs the entry of the first state in here, on the caller's thread, and only then starts
        # the chart's own. So a constructor sets every field before it calls `begin`.
        self.start_at(self.states[self.NEST[0][0]].state_method)
        # miros names it after the chart alone; two nodes have charts of the same names.
        if self.thread:
            self.thread.name = f"{self.threads.prefix}-{self.name}"
            self.threads.enlist(self.thread)

    def publish(self, event: Event, priority: int | None = None) -> None:
        """Publish a signal to every chart that hears it. Raises `ValueError` for any other."""
        if event.signal_name not in self.PUBLISHES:
            raise ValueError(f"{type(self).__name__} does not declare {event.signal_name}")
        super().publish(event, priority)

    def publish_brokers(
        self,
        live: Sequence[str],
        dead: Sequence[str] = (),
        *,
        port: int,
        ends_search: bool = False,
    ) -> None:
        """Publish `CONNECTION_DISCOVERY`; `port` is that of hosts which are named without one."""
        payload = ConnectionDiscoveryPayload(
            hosts=tuple(live),
            amqp_urls=tuple(Endpoint.parse(host, port).url for host in live),
            dispatcher=self.name,
            dead=tuple(dead),
            ends_search=ends_search,
            origin=self.origin,
        )
        self.publish(Event(signal=CONNECTION_DISCOVERY, payload=payload))

    def tell(self, signal: str, payload: Any = None) -> bool:
        """Post an event, from any thread; False when the chart has stopped, or is flooded."""
        # Straight into the mailbox: what a thread found out is for this one chart, and the fabric
        # would not keep its order.
        return self.queue.put(Event(signal=signal, payload=payload)) is None

    def later(self, signal: str, seconds: float, payload: Any = None) -> None:
        """Post an event in so many seconds, in place of one that waits under the same signal."""
        # The one before may have been posted a moment ago, in spite of this: a handler has to bear
        # an alarm that is outdated.
        self.cancel(signal)
        self._alarms[signal] = self.threads.timer.after(seconds, lambda: self.tell(signal, payload))

    def cancel(self, signal: str) -> None:
        """Do not post the event that waits under a signal, if there is one."""
        if alarm := self._alarms.pop(signal, None):
            alarm.cancel()

    def note(self, content: object) -> None:
        """Print something in the live trace, after the line of the present step."""
        if self.live_trace:
            self._notes.append(str(content))

    def dismiss(self) -> None:
        """Begin to stop, without waiting: the chart handles one more event at most."""
        # In this order: it does not begin again, nothing comes from the fabric, no alarm is added,
        # miros' loop finds its flag cleared, and an event wakes it to look. Where a full mailbox
        # loses that event, there are others to wake for.
        self._restarts.end()
        self.unsubscribe_all()
        for alarm in list(self._alarms.values()):
            alarm.cancel()
        self.activeobject_task_event.clear()
        self.queue.append(Event(signal=signals.STOP_ACTIVE_OBJECT_SIGNAL))
        self._death_is_over()

    def stop(self) -> None:
        """Stop the chart, its alarms, and the charts that it made; from any thread, also again."""
        # First, so that a start that is under way does not undo the rest.
        self._restarts.end_and_wait()
        self.dismiss()
        # Not for itself: a handler that stops its own chart would wait for its own end.
        if self.thread and self.thread is not threading.current_thread():
            self.thread.join(JOIN_TIMEOUT_S)
        # After the join. What is posted from here on is returned to the caller, which releases it.
        for event in self.queue.close():
            self.left_unhandled(event)
        # Last: until its thread has ended, the chart may have made further ones.
        self.stop_children()
        if self._owns_threads:
            self.threads.stop()

    def left_unhandled(self, event: Event) -> bool:
        """Release what an event holds that came too late to be handled; whether it held any."""
        return False

    def stop_children(self) -> None:
        """Stop the charts that this one made; called when its own thread has ended."""

    def renew(self) -> None:
        """Set the fields right that the life before left half done; its children have stopped.

        Called before a chart that died begins again, on the thread that starts it.
        """

    def _died(self, error: BaseException) -> None:
        before = self.queue
        # For the next life: from here on what comes waits there.
        self._open_mailbox()
        self._subscribe()
        fabric.unsubscribe(self.fabric, before)
        # What waits may hold the lock of a file, which all other processes wait for.
        for event in before.close():
            if not self.left_unhandled(event):
                self.queue.put(event)
        self._is_dead(error)
        self._restarts.died()
        # `dismiss` may have come in between, and known the mailbox of before only.
        if self.ended:
            self.dismiss()

    def _begin_again(self) -> None:
        if self.thread:
            self.thread.join(JOIN_TIMEOUT_S)
        # The new life makes its own.
        self.stop_children()
        self.renew()
        # What was deferred is for the new life too.
        while self.defer_queue:
            self.recall()
        # Before its thread runs, which may die at once.
        self._death_is_over()
        try:
            self._run()
        except Exception as error:
            self._is_dead(error)
            raise
        if self.ended:
            self.dismiss()

    def _is_dead(self, error: BaseException) -> None:
        # In this order: `dismiss`, on another thread, takes nothing back that was not told yet.
        self.observer.chart_died(chart=self.name, error=error)
        self._dead = True

    def _death_is_over(self) -> None:
        if self._dead:
            self._dead = False
            self.observer.chart_revived(chart=self.name)

    def next_rtc(self) -> bool:
        """Run one event to completion (miros calls it)."""
        taken = super().next_rtc()
        # Only now: miros prints the line of a step when the step has ended.
        notes, self._notes = self._notes, []
        for line in notes:
            self.live_trace_callback(line)
        return taken


def _problems(chart: type[DiscoveryChart]) -> Iterator[str]:
    """Yield what is wrong with the declarations of a kind of chart."""
    states: list[str] = []
    for state, parent in chart.NEST:
        # Named before, so no state is inside itself, and the first one is inside none.
        if parent is not None and parent not in states:
            yield f"NEST puts {state!r} into {parent!r}, which it does not name before"
        states.append(state)
    answered = set()
    for handler, reaction in reactions(chart):
        answered.add(reaction.signal)
        for state in (reaction.state, *reaction.to):
            if state not in states:
                known = ", ".join(map(repr, states))
                yield f"{handler.__name__} names the state {state!r}; NEST has {known}"
    for signal in chart.HEARS:
        if signal not in answered:
            yield f"HEARS names {signal!r}, which no handler answers"


def _answer(
    handler: Callable[..., str | None], reaction: Reaction
) -> Callable[[DiscoveryChart, Event], int]:
    def answer(chart: DiscoveryChart, event: Event) -> int:
        read = chart.READS.get(reaction.signal)
        # On the chart's thread, and not where it is posted: the fabric's thread is the process's.
        admitted = chart.entrance.admit(event, read) if read else event
        if admitted is None:
            return return_status.HANDLED
        target = handler(chart, admitted)
        if target is None:
            return return_status.HANDLED
        if target not in reaction.to:
            # Ends the chart: what is declared is what docs/discovery.md and the tests show.
            raise ValueError(f"{handler.__name__} does not declare that it leads to {target}")
        return chart.trans(chart.states[target].state_method)

    answer.__name__ = handler.__name__
    return answer
