"""Events of miros, made without the search through the signal table."""

from __future__ import annotations

from typing import Any

from miros import Event, signals

from miros_mesh.statechart.processor import made


def named(name: str, payload: Any) -> Event:
    """Return what `Event(name, payload)` returns; a new name enters the signal table."""
    number = signals.get(name)
    return Event(name, payload) if number is None else made(number, name, payload)


def twin(event: Any) -> Any:
    """Return another event with all that is known of this one."""
    copy = Event.__new__(Event)
    vars(copy).update(vars(event))
    return copy
