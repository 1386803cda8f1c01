"""The colours, the letters and the arrow heads of a picture."""

from __future__ import annotations

from html import escape

# The text has an outline in the colour of the paper, so that it can be read where a line crosses
# it.
STYLE = """
svg { --paper: #ffffff; --ink: #1b1f24; --faint: #59636e; --line: #afb8c1; --box: #f3f5f8;
  --own: #57606a; --sent: #0a62c9; background: var(--paper); }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --faint: #9aa4af; --line: #4a525c; --box: #1b222b;
    --own: #a5aeb8; --sent: #6cb2ff; }
}
text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: var(--ink); stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round;
  paint-order: stroke; white-space: pre; }
.title { font-size: 16px; font-weight: 600; }
.name { font-weight: 600; stroke: none; }
.faint, .time { fill: var(--faint); }
.node { fill: var(--faint); stroke: none; }
.paper { fill: var(--paper); }
.box { fill: var(--box); stroke: var(--line); }
.life { stroke: var(--line); stroke-dasharray: 4 4; }
.own { stroke: var(--own); fill: none; stroke-width: 1.5px; }
.sent { stroke: var(--sent); fill: none; stroke-width: 1.5px; }
.own-end { fill: var(--own); stroke: none; }
.sent-end { fill: var(--sent); stroke: none; }
""".strip()
MARKERS = """
<defs>
<marker id="own" viewBox="0 0 9 8" refX="8" refY="4" markerWidth="9" markerHeight="8"
 markerUnits="userSpaceOnUse" orient="auto"><path class="own-end" d="M0 0L9 4L0 8z"/></marker>
<marker id="sent" viewBox="0 0 9 8" refX="8" refY="4" markerWidth="9" markerHeight="8"
 markerUnits="userSpaceOnUse" orient="auto"><path class="sent-end" d="M0 0L9 4L0 8z"/></marker>
<marker id="from" viewBox="0 0 6 6" refX="3" refY="3" markerWidth="6" markerHeight="6"
 markerUnits="userSpaceOnUse"><circle class="sent-end" cx="3" cy="3" r="3"/></marker>
</defs>
""".strip()


def text_element(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    """Write words at a place, in the style `kind`, with everything escaped."""
    style = f' class="{kind}"' if kind else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{style} x="{x}" y="{y}"{place}>{escape(words)}</text>'
