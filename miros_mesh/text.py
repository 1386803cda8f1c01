"""Text of unknown origin, made fit for a terminal and for the wire."""

from __future__ import annotations

import logging
from pathlib import PurePath


def printable(text: str) -> str:
    """The text with every control character escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def encodable(text: str) -> str:
    """The text with each half of a surrogate pair escaped, which has no UTF-8 form."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def logger_of(module: str) -> logging.Logger:
    """The logger of a module, which escapes foreign text in its lines, whatever writes them."""
    logger = logging.getLogger(module)
    # At each logger, since a record passes no filter of those above its own.
    logger.addFilter(_escape)
    return logger


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_shown, record.args))
    return True


def _shown(value: object) -> object:
    # Names, words of other programs and errors that quote them. Anything else shows itself.
    return printable(str(value)) if isinstance(value, (str, BaseException, PurePath)) else value
