"""A page of HTML with the picture and a table of its transitions, which loads nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from miros_mesh.observe.sequence.model import Arrow, Diagram
from miros_mesh.observe.sequence.names import shown
from miros_mesh.observe.sequence.svg import bounded, svg

# Even a name that slipped through the escaping could load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { margin: 16px; font: 14px system-ui, sans-serif; background: #ffffff; color: #1b1f24; }
.picture { overflow: auto; }
table { border-collapse: collapse; margin-top: 24px; font: 12px ui-monospace, monospace; }
caption { text-align: left; font: 600 14px system-ui, sans-serif; padding-bottom: 6px; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #d5dae0;
  overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; }
  th, td { border-color: #30363d; }
}
""".strip()
_HEADINGS = ("no.", "time", "chart", "node", "signal", "from", "to", "sent by", "caused by")
# Enough for any name that can be read: the wire takes 255 characters, and escapes may make ten of
# one.
_LONGEST = 600


def page(diagram: Diagram) -> str:
    """Write a page of HTML that loads nothing, with picture and table; it says what was cut."""
    return "\n".join(_lines(bounded(diagram))) + "\n"


def _lines(diagram: Diagram) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(diagram.title)}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f'<div class="picture">{svg(diagram)}</div>'
    yield "<table><caption>All of them, in the order of their numbers</caption>"
    yield "<tr>" + "".join(f"<th>{heading}</th>" for heading in _HEADINGS) + "</tr>"
    yield from (_row(arrow) for arrow in diagram.arrows)
    yield "</table></body></html>"


def _row(arrow: Arrow) -> str:
    names = (
        arrow.target.chart,
        arrow.target.node or "unknown",
        arrow.signal,
        arrow.from_state,
        arrow.to_state,
    )
    cells = [
        f'<td class="number">{arrow.number}</td>',
        f'<td class="number">{arrow.offset_s:+.6f} s</td>',
        *(f"<td>{escape(shown(name, _LONGEST))}</td>" for name in names),
        f"<td>{escape(shown(arrow.sender.label, _LONGEST)) if arrow.sender else ''}</td>",
        f'<td class="number">{arrow.cause or ""}</td>',
    ]
    return "<tr>" + "".join(cells) + "</tr>"
