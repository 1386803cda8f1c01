"""Charts of figures as SVG, for the documentation: the same figures make the same bytes.

There is nothing in them that runs or is loaded from elsewhere, and they are read on a light and on
a dark page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

# Its finder of maps knows no `find_spec`, of which Python 3.11 warns at every import after it.
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "pygal"]

WIDTH = 900
_BAR_HEIGHT = 34
_AROUND_BARS = 90
_LINES_HEIGHT = 460
# Axes of more powers of ten than this have a label at each power only.
_FEW_DECADES = 2
_OURS, _OTHER = "#3f7fcc", "#8c96a1"
_SVG = "http://www.w3.org/2000/svg"
_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground="#57606a",
    foreground_strong="#1b1f24",
    foreground_subtle="#8c96a1",
    guide_stroke_color="#d0d7de",
    major_guide_stroke_color="#d0d7de",
    colors=(_OURS, "#d9822b", "#2f9e6e", "#a35fd0", "#cf5050", _OTHER),
    opacity=".45",
    transition="none",
    font_family="sans-serif",
    label_font_size=12,
    major_label_font_size=12,
    value_font_size=12,
    legend_font_size=12,
    title_font_size=15,
)
# What a bar says stands from its beginning on; a line is a line.
_CSS = """
ID text.value { text-anchor: start; }
ID .line.reactive { stroke-width: 2; stroke-opacity: 1; }
ID .axis.x .guide.line { opacity: 1; }
@media (prefers-color-scheme: dark) {
ID { background-color: #0d1117; }
ID .background, ID .graph > .background, ID .plot > .background { fill: #0d1117; }
ID text, ID .graph, ID .legends .legend text, ID .text-overlay text { fill: #a5aeb8 !important; }
ID .title, ID .axis text.major, ID text.value, ID .axis.y text { fill: #e6edf3 !important; }
ID .axis .line { stroke: #a5aeb8; }
ID .axis .guide.line, ID .axis .major.guide.line { stroke: #30363d; }
}
"""


@dataclass(frozen=True)
class Bar:
    """One bar: what is measured, how much it is, and what is said of it."""

    label: str
    value: float
    says: str
    """Stands in the bar, after the value: what it guarantees, say."""
    ours: bool = False
    """Ours have another colour."""


def bars(path: Path, title: str, columns: Sequence[Bar], show: Callable[[float], str]) -> None:
    """Write a chart of horizontal bars, the first one uppermost; `show` gives a value its unit."""
    chart = pygal.HorizontalBar(
        height=_AROUND_BARS + _BAR_HEIGHT * len(columns),
        print_values=True,
        print_values_position="bottom",
        show_legend=False,
        range=(0, max(bar.value for bar in columns)),
        value_formatter=show,
        **_common(path, title),
    )
    # Its first bar is the lowest.
    upwards = list(reversed(columns))
    chart.x_labels = [bar.label for bar in upwards]
    chart.add("", [_drawn(bar, show) for bar in upwards])
    _write(path, chart)


def lines(
    path: Path,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    y_title: str,
    *,
    logarithmic: bool = False,
) -> None:
    """Write a chart with a line of points (x, y) for each name; logarithmic ones have no zero."""
    says = " (logarithmic)" if logarithmic else ""
    chart = pygal.XY(
        height=_LINES_HEIGHT,
        x_title=x_title + says,
        y_title=y_title + says,
        x_value_formatter=_number,
        value_formatter=_number,
        logarithmic=logarithmic,
        legend_at_bottom=True,
        dots_size=3,
        **_common(path, title),
    )
    points = [point for each in series.values() for point in each]
    if logarithmic:
        if any(x <= 0 or y <= 0 for x, y in points):
            raise ValueError(f"{title}: only what is above zero has a place on a logarithmic axis")
        chart.x_labels = _steps([x for x, _ in points])
        chart.y_labels = _steps([y for _, y in points])
    else:
        chart.range = (0, max(y for _, y in points))
    for name, each in series.items():
        chart.add(name, list(each))
    _write(path, chart)


def _common(path: Path, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "style": _STYLE,
        "width": WIDTH,
        "js": [],
        "explicit_size": True,
        "truncate_label": -1,
        "truncate_legend": -1,
        "margin": 14,
        # A label of the horizontal axis is as wide on both sides of its mark.
        "margin_right": 40,
        "css": [
            "file://style.css",
            "file://graph.css",
            f"inline:{_CSS.replace('ID', f'#chart-{path.stem}')}",
        ],
    }


def _drawn(bar: Bar, show: Callable[[float], str]) -> dict[str, Any]:
    return {
        "value": bar.value,
        "formatter": lambda _: f"{show(bar.value)}  {bar.says}".rstrip(),
        "color": _OURS if bar.ours else _OTHER,
    }


def _write(path: Path, chart: Any) -> None:
    # In place of a random one: what the styles of this chart begin with.
    chart.uuid = path.stem
    chart.add_xml_filter(_still)
    path.write_bytes(ET.tostring(chart.render_tree(), encoding="utf-8") + b"\n")


def _still(root: ET.Element) -> ET.Element:
    """Without scripts, what is shown under a mouse, and comments, of which one has a date."""
    root.set("role", "img")
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _is_for_a_mouse(child):
                parent.remove(child)
    ET.indent(root, "")
    return root


def _is_for_a_mouse(node: ET.Element) -> bool:
    return (
        node.tag.removeprefix(f"{{{_SVG}}}") in {"script", "desc"}
        or "tooltip-overlay" in node.get("class", "").split()
    )


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _steps(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10 ... around the values; over many powers of ten only those."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    digits = (1, 2, 5) if high - low <= _FEW_DECADES else (1,)
    steps = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
    below = max(step for step in steps if step <= min(values) * 1.000001)
    above = min(step for step in steps if step >= max(values) * 0.999999)
    return [step for step in steps if below <= step <= above]
