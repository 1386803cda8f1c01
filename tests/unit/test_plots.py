"""The charts of the documentation: the same bytes each time, and nothing in them that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
import plots

TEXT = "{http://www.w3.org/2000/svg}text"
COLUMNS = [
    plots.Bar("stock miros", 16_800, "nothing leaves the process"),
    plots.Bar("miros_mesh", 10_800, "confirmed, in order", ours=True),
]
SERIES = {"embedded": [(1, 2), (100, 40)], "RabbitMQ": [(1, 3), (1_000, 450)]}


def _bars(path: Path) -> bytes:
    plots.bars(path, "Events per second", COLUMNS, lambda value: f"{value:,.0f}/s")
    return path.read_bytes()


def _lines(path: Path, *, logarithmic: bool = False) -> bytes:
    plots.lines(path, "CPU of an event", SERIES, "charts", "ms", logarithmic=logarithmic)
    return path.read_bytes()


def _texts(chart: bytes) -> list[str]:
    return [node.text or "" for node in ET.fromstring(chart).iter(TEXT)]


def test_the_same_figures_make_the_same_bytes(tmp_path: Path) -> None:
    assert _bars(tmp_path / "a.svg") == _bars(tmp_path / "a.svg")
    assert _lines(tmp_path / "b.svg") == _lines(tmp_path / "b.svg")


@pytest.mark.parametrize("draw", [_bars, _lines])
def test_nothing_in_a_chart_runs_or_comes_from_elsewhere(draw, tmp_path: Path) -> None:
    chart = draw(tmp_path / "chart.svg")
    assert b"script" not in chart
    assert b"<!--" not in chart
    assert b"href" not in chart
    assert b"prefers-color-scheme:dark" in chart


def test_a_bar_has_its_name_value_unit_and_what_is_said_of_it(tmp_path: Path) -> None:
    texts = _texts(_bars(tmp_path / "chart.svg"))
    assert "Events per second" in texts
    assert "stock miros" in texts
    assert "16,800/s  nothing leaves the process" in texts
    assert "10,800/s  confirmed, in order" in texts


def test_lines_have_their_names_and_both_axes(tmp_path: Path) -> None:
    texts = _texts(_lines(tmp_path / "chart.svg"))
    assert {"embedded", "RabbitMQ", "charts", "ms"} <= set(texts)


def test_a_logarithmic_axis_of_many_powers_of_ten_has_those_alone(tmp_path: Path) -> None:
    texts = _texts(_lines(tmp_path / "chart.svg", logarithmic=True))
    assert {"1", "10", "100", "1,000", "charts (logarithmic)", "ms (logarithmic)"} <= set(texts)
    assert not {"2", "20", "500"} & set(texts)


def test_zero_has_no_place_on_a_logarithmic_axis(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="above zero"):
        plots.lines(tmp_path / "c.svg", "t", {"a": [(0, 1)]}, "x", "y", logarithmic=True)
    assert not (tmp_path / "c.svg").exists()
