"""A dead letter and its payload in types of JSON, for other programs and for a browser."""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from miros_mesh.dead_letters.letter import Letter
from miros_mesh.wire.payload_types import UnknownValue


def as_json(letter: Letter) -> dict[str, Any]:
    """Return a letter's fields, its time as ISO 8601."""
    return asdict(letter) | {"time": _moment(letter)}


def plain(payload: Any) -> Any:
    """Return a payload in types of JSON: bytes as base64, times as ISO 8601, sets as lists."""
    if isinstance(payload, dict):
        return {str(key): plain(value) for key, value in payload.items()}
    if isinstance(payload, list | tuple):
        return [plain(each) for each in payload]
    if isinstance(payload, set | frozenset):
        # The order of a set is not the same in every process.
        return [plain(each) for each in sorted(payload, key=repr)]
    if isinstance(payload, UnknownValue):
        return {"type": payload.type_name, "fields": plain(dict(payload.fields))}
    if isinstance(payload, bytes):
        return {"base64": base64.b64encode(payload).decode()}
    return payload.isoformat() if isinstance(payload, datetime) else payload


def _moment(letter: Letter) -> str | None:
    if letter.time is None:
        return None
    return datetime.fromtimestamp(letter.time, UTC).isoformat(timespec="milliseconds")
