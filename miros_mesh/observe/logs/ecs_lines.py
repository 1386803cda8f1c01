"""Records of `logging` and structlog as lines of JSON in the Elastic Common Schema (ECS)."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, cast

import ecs_logging
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from miros_mesh.observe.logs.ecs import iso_utc, to_ecs
from miros_mesh.observe.logs.field_tree import add_all
from miros_mesh.observe.logs.redaction import redact_event, text_of
from miros_mesh.wire.envelope import SnoopRecord

SNOOP_ATTRIBUTE: Final = "miros_mesh_snoop"
"""The attribute of a log record that holds the snoop record which it logs."""

# What `logging` itself puts into a record when a formatter has worked on it.
_LEFTOVERS: Final = frozenset({"message", "asctime"})
# Keys of ours on the way from one processor to the next; no application uses such names.
_ERROR: Final = "_miros_mesh_error"
_TEXT: Final = "_miros_mesh_text"


def formatter(service: str | None = None) -> logging.Formatter:
    """Make what turns a record into one line of JSON, with the service's name in it.

    Records of `logging` and of structlog take the same way: facts apart from what the author added,
    secrets masked, everything put into one tree, the tree written.
    """
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            # For records of `logging` alone; structlog's come with the chain of `configure_json`
            # done.
            _set_aside,
            structlog.stdlib.ExtraAdder(),
            _drop_leftovers,
            *exception_processors(),
        ],
        processors=[
            _Facts(service),
            # After the facts, which hold the message; before the tree, where a structure may become
            # one text in which no field is seen any more.
            redact_event,
            _one_tree,
            cast("Processor", ecs_logging.StructlogFormatter()),
        ],
    )


def exception_processors() -> list[Processor]:
    """Return what turns a live exception into text, on the thread that raised it."""
    return [
        structlog.processors.StackInfoRenderer(),
        _name_error,
        structlog.processors.format_exc_info,
    ]


class _Facts:
    """Separates what every line has (`fields`) from what the author added (`extra`)."""

    def __init__(self, service: str | None) -> None:
        self._service = service

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        # Left there by `ProcessorFormatter` for its processors.
        event.pop("_from_structlog", None)
        snoop = event.pop(SNOOP_ATTRIBUTE, None)
        text = event.pop(_TEXT) if _TEXT in event else event.pop("event", "")
        if isinstance(snoop, SnoopRecord):
            # The line is the record, and nothing of the log record that carried it: a reader gets
            # back from it what was sent.
            fields: dict[str, Any] = to_ecs(snoop)
            # The formatter writes the version itself.
            del fields["ecs"]
            # What the record tells of is another program's doing: this one only watches.
            named = "observer"
        else:
            fields = _log_fields(record, text)
            _add_error(fields, event)
            named = "service"
        if self._service is not None:
            fields[named] = {"name": self._service}
        return {"fields": fields, "extra": event}


def _log_fields(record: logging.LogRecord, text: object) -> dict[str, Any]:
    return {
        "@timestamp": iso_utc(record.created),
        "message": text_of(text),
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
        # `exc_info=True`: the one that is being handled on this thread.
        error = sys.exc_info()[1] if given else None
    if error is not None:
        event[_ERROR] = {"type": type(error).__name__, "message": _message(error)}
    return event


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose text raises is logged all the same
        return f"<{type(error).__name__} without a text>"


def _one_tree(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # The facts first: where both have a name, what the author added becomes a label.
    fields: dict[str, Any] = event["fields"]
    add_all(fields, event["extra"])
    # The formatter wants the text as "event", and the fields of that name with dots.
    parts = {f"event.{name}": value for name, value in fields.pop("event", {}).items()}
    text = fields.pop("message")
    return {**fields, "event": text, **parts}


def _set_aside(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the message where no extra field of the name "event" replaces it."""
    event[_TEXT] = event.pop("event")
    return event


def _drop_leftovers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop what the formatter of an earlier handler left in the record."""
    return {name: value for name, value in event.items() if name not in _LEFTOVERS}
