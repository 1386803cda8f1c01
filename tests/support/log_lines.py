"""Log lines of every kind that the library writes, and logging as it was."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from miros_mesh.observe.logs.configure import configure_json, log_snoop
from miros_mesh.wire.envelope import SnoopRecord

TRANSITION = SnoopRecord(
    node="gatehouse",
    chart="front",
    incarnation="5fd0c92a7be1",
    sequence=7,
    kind="trace",
    time=1_795_230_510.197_625,
    text="e->knock() closed->opened",
    signal="knock",
    from_state="closed",
    to_state="opened",
    event_id="5fd0c92a7be1/front/4",
    cause="81a6e3f05c2d/back/12",
)


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Undo afterwards what `configure_json` did to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def written(stream: io.StringIO) -> str:
    """What a stream holds when all that was logged is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    return stream.getvalue()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines that were logged to a stream."""
    return [json.loads(line) for line in written(stream).splitlines()]


def lines_of_every_kind() -> list[dict[str, Any]]:
    """A transition, and an error of the library in an application that adds what it knows."""
    stream = io.StringIO()
    with logging_as_it_was():
        handler = configure_json(stream, service="doors")
        log_snoop(TRANSITION)
        try:
            int("front")
        except ValueError:
            logging.getLogger("miros_mesh.charts.networked").exception(
                "chart %s is dead", "front", extra={"floor": 3}
            )
        handler.flush()
        return [json.loads(line) for line in stream.getvalue().splitlines()]


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """The value of the field of this name with dots."""
    if path in fields:
        return fields[path]
    branch = next(name for name in fields if path.startswith(f"{name}."))
    return value_at(fields[branch], path.removeprefix(f"{branch}."))


def paths(fields: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The names of all fields of a nested object, with dots."""
    names: set[str] = set()
    for name, value in fields.items():
        path = f"{prefix}{name}"
        names |= paths(value, f"{path}.") if isinstance(value, Mapping) else {path}
    return names
