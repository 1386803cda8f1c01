"""JSON log lines for an application that asks for them; the library itself never does.

The library logs through the standard `logging` tree `miros_mesh`. `configure_json` sends that tree,
the rest of the application's records, and structlog's, to one place in one form.
"""

from __future__ import annotations

import logging
import logging.handlers
import math
import re
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path, PurePath
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HANDLER_NAME = "miros_mesh.observe.logs"
MASK = "***"
MAX_DEPTH = 8

_LEFTOVERS = frozenset({"message", "asctime"})

# Every run of key characters that is long enough, so that a character glued to a key hides nothing.
_FERNET_KEY = re.compile(r"(?<![\w-])[\w-]{43,}+=", re.ASCII)
# Up to the last @ of the word, because a password that was not percent-encoded may hold one too.
_URL_PASSWORD = re.compile(r"(://[^\s:/]*):(?:(?!://)\S)*@")
_NAME = r"(?:passw(?:or)?d|secret|encryption_key)"
_SECRET_FIELD = re.compile(_NAME + "$", re.IGNORECASE)
# As in the source lines of a traceback and in the repr of a dictionary.
_ASSIGNED_SECRET = re.compile(
    rf"""({_NAME}["']?\s*(?:=\s*|:\s*(?=b?["'])))"""
    r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)


def configure_json(
    target: TextIO | Path | str | None = None, *, level: int = logging.INFO
) -> logging.Handler:
    """Write each log record from `level` up as one line of JSON to a stream or a file's end.

    For applications: it sets the root logger's level and configures structlog for the process.
    Called again, it replaces what it did before. Without a target it writes to standard error.
    """
    handler = _handler(target)
    handler.setFormatter(_formatter())
    _install(handler, level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    return handler


def redact(text: str) -> str:
    """The text without Fernet keys and passwords."""
    text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _ASSIGNED_SECRET.sub(rf"\1{MASK}", text)
    return _FERNET_KEY.sub(MASK, text)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask the secrets of a record; what it returns is plain JSON with nothing left to render."""
    return {redact(str(name)): _redacted(name, value, MAX_DEPTH) for name, value in event.items()}


def _drop_leftovers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without what the formatter of an earlier handler left in the record."""
    return {name: value for name, value in event.items() if name not in _LEFTOVERS}


def _redacted(name: object, value: object, depth: int) -> Any:
    if isinstance(name, str) and value is not None and _SECRET_FIELD.search(name):
        return MASK
    if _is_plain(value):
        return value
    if isinstance(value, Mapping) and depth:
        return {redact(str(key)): _redacted(key, item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_redacted(None, item, depth - 1) for item in value]
    return redact(_text(value))


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def _text(value: object) -> str:
    if isinstance(value, str | PurePath | date):
        return str(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - one unreadable value must not cost the whole line
        return f"<{type(value).__name__} without a repr>"


def _handler(target: TextIO | Path | str | None) -> logging.Handler:
    if isinstance(target, Path | str):
        return logging.handlers.WatchedFileHandler(target, encoding="utf-8")
    return logging.StreamHandler(sys.stderr if target is None else target)


def _install(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    for earlier in [known for known in root.handlers if known.get_name() == HANDLER_NAME]:
        root.removeHandler(earlier)
        earlier.close()
    handler.set_name(HANDLER_NAME)
    root.addHandler(handler)


def _formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            _drop_leftovers,
            *_shared_processors(),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_event,
            structlog.processors.JSONRenderer(),
        ],
    )


def _shared_processors() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
