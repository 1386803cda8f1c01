"""`deploy/grafana/miros_mesh.json` is a dashboard: Grafana's own types hold all of it."""

from __future__ import annotations

import copy
import json
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from support.deployed import DEPLOY

WRITTEN: dict[str, Any] = json.loads((DEPLOY / "grafana" / "miros_mesh.json").read_text())
PANELS: list[dict[str, Any]] = WRITTEN["panels"]


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    # With the types of each kind of panel, and of queries to Prometheus.
    register_default_plugins()


def kept(dashboard: dict[str, Any]) -> Any:
    """What is left of a dashboard when Grafana's types have read it."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))


def lost(written: Any, left: Any, path: str = "") -> list[str]:
    """Where something is written that is not left."""
    if isinstance(written, dict) and isinstance(left, dict):
        return [
            each
            for key, value in written.items()
            for each in lost(value, left.get(key, _NOTHING), f"{path}.{key}")
        ]
    if isinstance(written, list) and isinstance(left, list) and len(written) == len(left):
        return [
            each
            for number, pair in enumerate(zip(written, left, strict=True))
            for each in lost(*pair, f"{path}[{number}]")
        ]
    return [] if written == left else [path]


_NOTHING = object()


def test_grafana_knows_every_field() -> None:
    assert lost(WRITTEN, kept(WRITTEN)) == []


@pytest.mark.parametrize(
    ("where", "path"),
    [
        (WRITTEN, ".misspelt"),
        (PANELS[1], ".panels[1].misspelt"),
        (PANELS[1]["fieldConfig"]["defaults"], ".panels[1].fieldConfig.defaults.misspelt"),
        (PANELS[1]["targets"][0], ".panels[1].targets[0].misspelt"),
    ],
    ids=["dashboard", "panel", "field", "query"],
)
def test_a_field_that_is_misspelt_is_found(where: dict[str, Any], path: str) -> None:
    where["misspelt"] = 1
    try:
        assert lost(WRITTEN, kept(WRITTEN)) == [path]
    finally:
        del where["misspelt"]


def test_every_panel_has_a_number_of_its_own_and_a_place_that_no_other_has() -> None:
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_every_panel_asks_the_source_that_is_chosen_above() -> None:
    variables = {each["name"] for each in WRITTEN["templating"]["list"]}
    assert "datasource" in variables
    asking = [panel for panel in PANELS if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in asking} == {"${datasource}"}
