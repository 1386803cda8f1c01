"""Records of `logging` and structlog as lines of JSON in the Elastic Common Schema (ECS)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import ecs_logging
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from miros_mesh.observe.logs.ecs import iso_utc, to_ecs
from miros_mesh.observe.logs.redaction import redact_event, text_of
from miros_mesh.wire.envelope import SnoopRecord

SNOOP_ATTRIBUTE: Final = "miros_mesh_snoop"
"""The attribute of a log record that holds the snoop record which it tells of."""

_LEFTOVERS: Final = frozenset({"message", "asctime"})
_LABELS: Final = "labels"
_ERROR: Final = "_miros_mesh_error"
_SAID: Final = "_miros_mesh_said"


def formatter(service: str | None = None) -> logging.Formatter:
    """Makes one line of a record; the service's name is in each."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _set_aside,
            structlog.stdlib.ExtraAdder(),
            _drop_leftovers,
            *exception_processors(),
        ],
        processors=[
            _Facts(service),
            redact_event,
            _one_tree,
            cast("Processor", ecs_logging.StructlogFormatter()),
        ],
    )


def exception_processors() -> list[Processor]:
    """What turns a live exception into text, on the thread that has it."""
    return [
        structlog.processors.StackInfoRenderer(),
        _name_error,
        structlog.processors.format_exc_info,
    ]


class _Facts:
    """Parts what the library knows of a record from what its author added."""

    def __init__(self, service: str | None) -> None:
        self._service = service

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        snoop = event.pop(SNOOP_ATTRIBUTE, None)
        said = event.pop(_SAID) if _SAID in event else event.pop("event", "")
        if isinstance(snoop, SnoopRecord):
            fields: dict[str, Any] = to_ecs(snoop)
            # The formatter writes the version itself.
            del fields["ecs"]
        else:
            fields = _log_fields(record, said)
            _add_error(fields, event)
        if self._service is not None:
            fields.setdefault("service", {})["name"] = self._service
        return {"fields": fields, "extra": event}


def _log_fields(record: logging.LogRecord, said: object) -> dict[str, Any]:
    return {
        "@timestamp": iso_utc(record.created),
        "message": text_of(said),
        "log": {"level": record.levelname.lower(), "logger": record.name},
        "process": {"pid": record.process, "thread": {"name": record.threadName}},
    }


def _add_error(fields: dict[str, Any], event: EventDict) -> None:
    error = event.pop(_ERROR, {})
    trace = [event.pop(name) for name in ("exception", "stack") if name in event]
    if trace:
        error["stack_trace"] = "\n".join(map(text_of, trace))
    if error:
        fields["error"] = error


def _name_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the type and the message of an exception before it becomes a text."""
    given = event.get("exc_info")
    if isinstance(given, BaseException):
        error: BaseException | None = given
    elif isinstance(given, tuple):
        error = given[1]
    else:
        error = sys.exc_info()[1] if given else None
    if error is not None:
        event[_ERROR] = {"type": type(error).__name__, "message": _message(error)}
    return event


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception without a text is one nevertheless
        return f"<{type(error).__name__} without a text>"


def _one_tree(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put what the author added where no field of ECS and no mapping of an index can clash with it.

    A name with dots, and a dictionary, go to their place in the tree; any other name is a label, as
    is what finds its place taken.
    """
    fields: dict[str, Any] = event["fields"]
    for name, value in event["extra"].items():
        if "." not in name and not isinstance(value, Mapping):
            _label(fields, name, value)
            continue
        for path, leaf in _leaves(name, value):
            if not _put(fields, path.split("."), leaf):
                _label(fields, path, leaf)
    # The formatter wants the text as "event", and the fields of that name with dots.
    parts = {f"event.{name}": value for name, value in fields.pop("event", {}).items()}
    said = fields.pop("message")
    return {**fields, "event": said, **parts}


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}", item)
    else:
        yield path, value


def _put(fields: dict[str, Any], path: list[str], leaf: object) -> bool:
    """Whether the place was free."""
    *branches, last = path
    if not all(path) or branches[0] == _LABELS:
        return False
    branch = fields
    for name in branches:
        branch = branch.setdefault(name, {})
        if not isinstance(branch, dict):
            return False
    if last in branch:
        return False
    branch[last] = leaf
    return True


def _label(fields: dict[str, Any], path: str, value: object) -> None:
    """Labels have no structure: no dot in a name; a value is a scalar or a list of scalars."""
    labels = fields.setdefault(_LABELS, {})
    name = path.removeprefix(f"{_LABELS}.").replace(".", "_") or "_"
    while name in labels:
        name += "_"
    labels[name] = value if _is_flat(value) else json.dumps(value)


def _is_flat(value: object) -> bool:
    if isinstance(value, list):
        return not any(isinstance(item, list | dict) for item in value)
    return not isinstance(value, dict)


def _set_aside(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the message where no extra field of the name "event" replaces it."""
    event[_SAID] = event.pop("event")
    return event


def _drop_leftovers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without what the formatter of an earlier handler left in the record."""
    return {name: value for name, value in event.items() if name not in _LEFTOVERS}
