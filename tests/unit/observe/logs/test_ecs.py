"""A snoop record as an ECS object: nothing is lost on the way there and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import MeshError, SnoopRecordError
from miros_mesh.observe.logs.ecs import from_ecs, to_ecs
from miros_mesh.wire.envelope import SnoopRecord
from support.sealed import record

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)
texts = st.text(st.characters(exclude_categories=["Cs"]))
records = st.builds(
    SnoopRecord,
    node=names,
    chart=names,
    incarnation=st.text("0123456789abcdef", min_size=1, max_size=64),
    sequence=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(["trace", "spy", "scribble"]),
    time=st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)).map(
        datetime.timestamp
    ),
    text=texts,
    signal=st.none() | names,
    from_state=st.none() | texts.map(lambda text: text[:255]),
    to_state=st.none() | texts.map(lambda text: text[:255]),
    event_id=st.none() | names,
    cause=st.none() | names,
)


def test_a_transition_is_this_object() -> None:
    assert to_ecs(record("e->knock() shut->open", signal="knock", from_state="shut")) == {
        "@timestamp": "2018-05-04T13:23:29.177773Z",
        "ecs": {"version": "1.6.0"},
        "message": "e->knock() shut->open",
        "event": {
            "kind": "event",
            "module": "miros_mesh",
            "dataset": "miros_mesh.snoop",
            "type": ["change"],
            "id": "trace/the1rs/talker/1",
            "sequence": 1,
        },
        "log": {"level": "info", "logger": "miros_mesh.snoop"},
        "service": {"node": {"name": "there"}},
        "miros_mesh": {
            "kind": "trace",
            "chart": "talker",
            "incarnation": "the1rs",
            "signal": "knock",
            "from_state": "shut",
        },
    }


@given(records)
def test_a_record_comes_back_as_it_was_through_a_line_of_json(record: SnoopRecord) -> None:
    line = json.dumps(to_ecs(record))

    assert line.isascii()
    assert min(line) >= " "
    assert from_ecs(json.loads(line)) == record


@given(records)
def test_a_record_comes_back_from_names_with_dots(record: SnoopRecord) -> None:
    fields = to_ecs(record)
    own: Any = fields.pop("miros_mesh")

    assert from_ecs(fields | {f"miros_mesh.{name}": own[name] for name in own}) == record


def test_a_time_with_another_zone_is_the_same_moment() -> None:
    fields = to_ecs(record()) | {"@timestamp": "2018-05-04T15:23:29.177773+02:00"}

    assert from_ecs(fields) == record()


def test_everything_that_is_missing_is_named() -> None:
    with pytest.raises(SnoopRecordError) as caught:
        from_ecs({"message": "chart bob is dead", "@timestamp": "2018-05-04T13:23:29Z"})

    for path in ("service.node.name", "miros_mesh.chart", "miros_mesh.kind", "event.sequence"):
        assert path in str(caught.value)
    assert isinstance(caught.value, MeshError)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("@timestamp", "yesterday"),
        ("@timestamp", "2018-05-04T13:23:29"),
        ("@timestamp", 1.5),
        ("event.sequence", 0),
        ("event.sequence", "7"),
        ("miros_mesh.kind", "rumour"),
        ("miros_mesh.signal", 7),
        ("message", ["e->ping()"]),
        ("service.node.name", ""),
    ],
)
def test_a_wrong_field_is_named(path: str, value: object) -> None:
    with pytest.raises(SnoopRecordError, match=path):
        from_ecs(to_ecs(record()) | {path: value})
