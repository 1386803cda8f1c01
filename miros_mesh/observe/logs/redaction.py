"""Keys and passwords masked before they reach a log line, whichever way they came."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from structlog.typing import EventDict, WrappedLogger

MASK = "***"
# A record that contains itself must have an end.
MAX_DEPTH = 8

# Every run of key characters that is long enough, so that a character glued to a key hides nothing.
# A key has 43 characters of base64 for its 32 bytes, and one `=`.
_FERNET_KEY = re.compile(r"(?<![\w-])[\w-]{43,}+=", re.ASCII)
# Up to the last @ of the word, because a password that was not percent-encoded may hold one too.
_URL_PASSWORD = re.compile(r"(://[^\s:/]*):(?:(?!://)\S)*@")
_NAME = r"(?:passw(?:or)?d|passphrase|secret|token|api_?key|encryption_key)"
_SECRET_FIELD = re.compile(rf"(?:{_NAME}|authorization)$", re.IGNORECASE)
# As in the source lines of a traceback and in the repr of a dictionary.
_ASSIGNED_SECRET = re.compile(
    rf"""({_NAME}["']?\s*(?:=\s*|:\s*(?=b?["'])))"""
    r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)
# A header, as it is sent and as a dictionary or a list of pairs shows it.
_HEADER = r"""authorization\\?["']?[ \t]*+(?:[:=]|,(?=[ \t]*b?["']))[ \t]*+"""
_QUOTED_HEADER = re.compile(
    rf"""({_HEADER}b?(["']))(?:(?!\2)[^\\\n]|\\.|\\$)*+(\2|$)""", re.IGNORECASE | re.MULTILINE
)
# Some schemes have several words, so the rest of the line goes.
_PLAIN_HEADER = re.compile(rf"""({_HEADER})(?!b?["'])[^\r\n]+""", re.IGNORECASE)
# "A bearer token" is two words of English.
_BEARER = re.compile(
    r"\b(bearer[ \t]++)(?!tokens?(?![\w.~+/=-]))[\w.~+/=-]+", re.ASCII | re.IGNORECASE
)


def redact(text: str) -> str:
    """Return the text with `***` for Fernet keys, passwords, tokens, and authorizations."""
    # Most texts lack what a secret needs: looking for that first is far cheaper.
    if "@" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    if "=" in text or ":" in text:
        text = _ASSIGNED_SECRET.sub(rf"\1{MASK}", text)
        text = _FERNET_KEY.sub(MASK, text)
    # Without its first letter, which may be large or small. Spellings such as `AuThOrIzAtIoN` are
    # not worth a look in every text.
    if "uthorization" in text or "UTHORIZATION" in text:
        text = _QUOTED_HEADER.sub(rf"\1{MASK}\3", text)
        text = _PLAIN_HEADER.sub(rf"\1{MASK}", text)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return text


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return a record with its secrets masked, as plain JSON with nothing left to render."""
    return _masked(event, MAX_DEPTH)


def _masked(fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    masked = {}
    for key, value in fields.items():
        name, secret = _name(key if isinstance(key, str) else text_of(key))
        masked[name] = MASK if secret and value is not None else _redacted(value, depth)
    return masked


# The same few names come again and again.
@lru_cache(maxsize=1024)
def _name(name: str) -> tuple[str, bool]:
    """Return a field's name without secrets, and whether its value is one."""
    return redact(text_of(name)), bool(_SECRET_FIELD.search(name))


def _redacted(value: object, depth: int) -> Any:
    # Not `isinstance`: an Enum of strings, say, is made a plain text by `text_of` below.
    if type(value) is str:
        return redact(text_of(value))
    if _is_plain(value):
        return value
    if isinstance(value, Mapping) and depth:
        return _masked(value, depth - 1)
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_redacted(item, depth - 1) for item in value]
    return redact(text_of(value))


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        # JSON has no NaN and no infinity; readers refuse the line, or the whole file.
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def text_of(value: object) -> str:
    """Return the value as a text that can be encoded, also of an object whose repr raises."""
    if type(value) is str and value.isascii():
        return value
    try:
        text = str(value) if isinstance(value, str | PurePath | date) else repr(value)
    except Exception:  # noqa: BLE001 - one unreadable value must not cost the whole line
        return f"<{type(value).__name__} without a repr>"
    if text.isascii():
        return text
    # Half of a surrogate pair, as in the name of a file, is refused by readers of the log.
    return text.encode("utf-8", "backslashreplace").decode()
