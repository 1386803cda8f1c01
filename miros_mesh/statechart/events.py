"""Events of miros, made without the search through the signal table."""

from __future__ import annotations

from typing import Any

from miros import Event, signals

from miros_mesh.statechart.processor import made


def named(name: str, payload: Any) -> Event:
    """Return what `Event(name, payload)` returns; a new name enters the signal table."""
    number = signals.get(name)
    return Event(name, payload) if number is None else made(number, name, payload)


def twin(event: Event) -> Event:
    """Return another event of the same class, with all that is known of this one."""
    # Not by its class, which a program may have derived: that may want arguments.
    copy = Event.__new__(type(event))
    vars(copy).update(vars(event))
    if event:
        # An event of miros is a dictionary as well, in which few programs keep anything.
        copy.update(event)
    return copy
