"""What an application adds to a line, beside the fields of ECS."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.observe.logs.field_tree import add_all


@pytest.mark.parametrize(
    ("extra", "added"),
    [
        ({"floor": 3}, {"labels": {"floor": 3}}),
        ({"http.request.method": "GET"}, {"http": {"request": {"method": "GET"}}}),
        ({"http": {"version": 2}}, {"http": {"version": 2}}),
        ({"labels": {"floor": 3}}, {"labels": {"floor": 3}}),
        ({"log.level": "loud"}, {"labels": {"log_level": "loud"}}),
        ({"log.level.number": 1}, {"labels": {"log_level_number": 1}}),
        ({"ctx": {}, "floor": 3}, {"ctx": {}, "labels": {"floor": 3}}),
        ({"labels": {}}, {"labels": {"labels": "{}"}}),
        ({".": 1}, {"labels": {"_": 1}}),
        ({"labels.c": 2, "c": 3}, {"labels": {"c": 2, "c_": 3}}),
        ({"names": [{"deep": 1}]}, {"labels": {"names": '[{"deep": 1}]'}}),
    ],
)
def test_each_name_finds_a_place(extra: dict[str, Any], added: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"log": {"level": "info"}}
    add_all(fields, extra)
    assert fields == {"log": {"level": "info"}, **added}
