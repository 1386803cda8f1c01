"""The few shapes of the drawings in docs/images: no script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from string import Template
from textwrap import wrap

# How wide a character of each size is, generously: fonts differ from one reader to the next.
CHARACTER = {"name": 8.0, "small": 6.6}
LINE = 16

_LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "faint": "#57606a",
    "line": "#8c96a1",
    "box": "#e8eef7",
    "edge": "#3f5f8a",
    "back": "#b44d12",
}
_DARK = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#a5aeb8",
    "line": "#59636e",
    "box": "#1a2433",
    "edge": "#7fa3d6",
    "back": "#f0955a",
}
_SHAPES = """
text { font: 12px sans-serif; dominant-baseline: central; }
.name { font-size: 14px; font-weight: 600; }
.code { font-weight: 600; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.frame, .life, .line, .back { fill: none; }
.life { stroke-dasharray: 2 4; }
.line { stroke-width: 1.5; marker-end: url(#tip); }
.back { stroke-width: 1.5; stroke-dasharray: 5 3; marker-end: url(#backtip); }
""".strip()
# Spelt out for each, since not every program that shows SVG knows variables.
_COLOURS = """
text { fill: $faint; }
.name, .code { fill: $ink; }
.paper { fill: $paper; }
.box { fill: $box; stroke: $edge; }
.frame, .life { stroke: $line; }
.line { stroke: $edge; }
.back { stroke: $back; }
.tip { fill: $edge; }
.backtip { fill: $back; }
""".strip()
_STYLE = "\n".join(
    [
        _SHAPES,
        Template(_COLOURS).substitute(_LIGHT),
        "@media (prefers-color-scheme: dark) {",
        Template(_COLOURS).substitute(_DARK),
        "}",
    ]
)
_TIP = """<marker id="{0}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
 orient="auto"><path class="{0}" d="M0 0L8 4L0 8z"/></marker>"""


def drawing(title: str, width: int, height: int, shapes: Iterable[str]) -> str:
    """A whole file; it has a background of its own, so it can stand on a light or a dark page."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_STYLE}\n</style>",
            f"<defs>{_TIP.format('tip')}{_TIP.format('backtip')}</defs>",
            f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, style: str = "") -> str:
    """One line, centred at `y`; `x` is its left end unless the style says otherwise."""
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(words, quote=False)}</text>'


def box(x: float, y: float, width: float, height: float, style: str = "box") -> str:
    """A rectangle with round corners."""
    return (
        f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"/>'
    )


def path(points: str, style: str) -> str:
    """A line along the points, in the words of SVG."""
    return f'<path class="{style}" d="{points}"/>'


def lines(words: str, width: float) -> list[str]:
    """Small text in as many lines as it takes."""
    return wrap(words, int(width / CHARACTER["small"]))
