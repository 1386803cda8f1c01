"""Events of miros, made without the search through the signal table."""

from __future__ import annotations

from typing import Any

from miros import Event, signals

_new = Event.__new__


def made(signal: int, name: str, payload: Any = None) -> Event:
    """Return what `Event(signal, payload)` returns for a signal of this number and this name."""
    # Without `__init__`, which looks for both in the table; its attributes, in its order.
    event = _new(Event)
    event.payload = payload
    event.signal = signal
    event.signal_name = name
    return event


def named(name: str, payload: Any) -> Event:
    """Return what `Event(name, payload)` returns; a new name enters the signal table."""
    number = signals.get(name)
    return Event(name, payload) if number is None else made(number, name, payload)


def twin(event: Any) -> Any:
    """Return another event with all that is known of this one."""
    copy = _new(Event)
    vars(copy).update(vars(event))
    return copy
