"""A program that forks while its chart is at work: the child uses it, and makes one of its own.

forking.py HOW        the settings come from the environment; "fork" or "multiprocessing"
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject
from miros_mesh.errors import ForkedError

LIMIT_S = 20.0
answered = threading.Event()
published = threading.Event()


@spy_on
def asking(chart: NetworkedActiveObject, event: Event) -> Any:
    """Wait for an answer to a question."""
    if event.signal == signals.ENTRY_SIGNAL:
        chart.subscribe(Event(signal=signals.news))
        return return_status.HANDLED
    if event.signal == signals.news:
        published.set()
        return return_status.HANDLED
    if event.signal == signals.answer and event.payload == os.getpid():
        answered.set()
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def say(**facts: Any) -> None:
    """Tell the test, in one write, since two processes do."""
    os.write(1, f"{json.dumps(facts)}\n".encode())


def ask(chart: NetworkedActiveObject) -> bool:
    """Whether the chart hears what the test answers."""
    answered.clear()
    chart.transmit(Event(signal=signals.question, payload=os.getpid()))
    return answered.wait(LIMIT_S)


def publish(chart: NetworkedActiveObject) -> bool:
    """Whether miros' own way between the charts of a process works."""
    published.clear()
    chart.publish(Event(signal=signals.news))
    return published.wait(LIMIT_S)


def in_the_child(inherited: NetworkedActiveObject) -> NetworkedActiveObject:
    """What a child does that does not know better, and then a chart of its own."""
    refused = []
    calls: dict[str, Callable[[], object]] = {
        "transmit": lambda: inherited.transmit(Event(signal=signals.question)),
        "start_at": lambda: inherited.start_at(asking),
        "stop": inherited.stop,
        "snoop_scribble": lambda: inherited.snoop_scribble("a note"),
        "enable_snoop_trace": inherited.enable_snoop_trace,
        "enable_snoop_trace_no_color": inherited.enable_snoop_trace_no_color,
        "enable_snoop_spy": inherited.enable_snoop_spy,
        "enable_snoop_spy_no_color": inherited.enable_snoop_spy_no_color,
        "disable_snoop_trace": inherited.disable_snoop_trace,
        "disable_snoop_spy": inherited.disable_snoop_spy,
        "health": inherited.health,
    }
    for name, call in calls.items():
        try:
            call()
        except ForkedError as error:
            if "spawn" in str(error):
                refused.append(name)
    own = NetworkedActiveObject("own")
    own.start_at(asking)
    say(missing=sorted(set(calls) - set(refused)), asked=ask(own), published=publish(own))
    return own


def in_a_child_of_multiprocessing(inherited: NetworkedActiveObject) -> None:
    """Such a child ends without atexit, so it stops what it has started."""
    in_the_child(inherited).stop()


if __name__ == "__main__":
    chart = NetworkedActiveObject("inherited")
    chart.start_at(asking)
    before = ask(chart) and publish(chart)
    if sys.argv[1] == "fork":
        if child := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            in_the_child(chart)
            # The end of the interpreter, with atexit, as a program's end is
            sys.exit()
    else:
        process = multiprocessing.get_context("fork").Process(
            target=in_a_child_of_multiprocessing, args=(chart,)
        )
        process.start()
        process.join()
        code = process.exitcode or 0
    again = [*(ask(chart) for _ in range(20)), publish(chart)]
    say(child=code, before=before, again=all(again), report=chart.stop().all_confirmed)
