"""Snoop records as objects of the Elastic Common Schema (ECS), and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from miros_mesh.errors import SnoopRecordError
from miros_mesh.wire.envelope import SnoopRecord

# What `ecs_logging` writes into the lines of the log, so that all lines of a file agree.
ECS_VERSION: Final = "1.6.0"
MODULE: Final = "miros_mesh"
DATASET: Final = "miros_mesh.snoop"
"""The logger and the `event.dataset` of snoop records."""

# In the order of the record's own fields, which is the one that `msgspec.convert` wants.
_FIELDS: Final = {
    "node": "service.node.name",
    "chart": "miros_mesh.chart",
    "incarnation": "miros_mesh.incarnation",
    "sequence": "event.sequence",
    "kind": "miros_mesh.kind",
    "time": "@timestamp",
    "text": "message",
    "signal": "miros_mesh.signal",
    "from_state": "miros_mesh.from_state",
    "to_state": "miros_mesh.to_state",
    "event_id": "miros_mesh.event_id",
    "cause": "miros_mesh.cause",
}
# As in a signature, the fields with a default are the last ones.
_OPTIONAL: Final = SnoopRecord.__struct_fields__[-len(SnoopRecord.__struct_defaults__) :]
# How msgspec says which element of an array is wrong.
_PLACE: Final = re.compile(r" - at `\$\[(\d+)\]`")


def to_ecs(record: SnoopRecord) -> dict[str, object]:
    """Return the record as a nested ECS object of plain JSON; times are UTC, to the microsecond.

    `event.id` is the record's own, unique for its kind; `miros_mesh.event_id` is that of the event
    which the chart handled. A field of the record that is None is left out.
    """
    own = {
        "kind": record.kind,
        "chart": record.chart,
        "incarnation": record.incarnation,
        "event_id": record.event_id,
        "cause": record.cause,
        "signal": record.signal,
        "from_state": record.from_state,
        "to_state": record.to_state,
    }
    return {
        "@timestamp": iso_utc(record.time),
        "ecs": {"version": ECS_VERSION},
        "message": record.text,
        "event": {
            "kind": "event",
            "module": MODULE,
            "dataset": DATASET,
            # Words that ECS allows in `event.type`; a transition changes a state.
            "type": ["change" if record.kind == "trace" else "info"],
            "id": f"{record.kind}/{record.id}",
            "sequence": record.sequence,
        },
        "log": {"level": "info", "logger": DATASET},
        "service": {"node": {"name": record.node}},
        "miros_mesh": {name: value for name, value in own.items() if value is not None},
    }


def from_ecs(fields: Mapping[str, object]) -> SnoopRecord:
    """Return the record that an ECS object holds, its fields nested or with dots in their names.

    Raises `SnoopRecordError`, which names the fields that are missing or wrong.
    """
    flat = dict(_flat(fields))
    missing = [
        path for name, path in _FIELDS.items() if name not in _OPTIONAL and flat.get(path) is None
    ]
    if missing:
        raise SnoopRecordError(
            f"no snoop record: {', '.join(missing)} missing; "
            f"one has event.dataset {DATASET} and what to_ecs writes"
        )
    # A list, since a `SnoopRecord` is an array on the wire; `convert` checks it as a frame is
    # checked.
    values = [flat.get(path) for path in _FIELDS.values()]
    values[list(_FIELDS).index("time")] = _epoch_seconds(flat["@timestamp"])
    try:
        return msgspec.convert(values, SnoopRecord)
    except msgspec.ValidationError as error:
        raise SnoopRecordError(f"no snoop record: {_named(error)}") from None


def iso_utc(epoch_seconds: float) -> str:
    """Write a moment as ISO 8601 in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    # `Z` and not `+00:00`, as `ecs_logging` writes a time.
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _flat(fields: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _epoch_seconds(text: object) -> float:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    # Without a zone it would be read as the reader's, and be wrong by hours on another host.
    if moment is None or moment.tzinfo is None:
        raise SnoopRecordError(
            f"no snoop record: @timestamp is {text!r:.60}, and no time in ISO 8601 with its zone"
        )
    return moment.timestamp()


def _named(error: msgspec.ValidationError) -> str:
    """Return what msgspec says, with the name of the field in place of its number."""
    text = str(error)
    if place := _PLACE.search(text):
        path = list(_FIELDS.values())[int(place[1])]
        return f"{path}: {text.replace(place[0], '')}"
    return text
