"""A picture: one SVG file that loads no script, no font and nothing else from elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape

from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.sequence.names import shown
from miros_mesh.observe.sequence.svg_style import MARKERS, STYLE, text_element

# The picture is 56,000 pixels high then.
MAX_ARROWS = 1000
MAX_LIFELINES = 24
# An arrow that began further up than this starts level with its end.
MAX_SLOPE_ROWS = 8

# All lengths are in pixels, but for that of a label, which is in characters.
# A character of the 12 px monospace font is about so wide.
_CHARACTER = 7.3
_LABEL = 40
# Around the picture; of a row, which is one transition; of the box with a chart's name.
_MARGIN, _ROW, _BOX = 16, 56, 42
# Of a line of notes.
_LINE = 18
# How far the arrow of a chart's own event goes out.
_LOOP = 26
# A chart transmits when it has entered its new state: so far below that transition.
_AFTER = 18


def svg(diagram: Diagram) -> str:
    """Draw a picture (SVG), dark or light as its reader has it; it says what was cut."""
    return "\n".join(_Picture(bounded(diagram)).lines()) + "\n"


def bounded(diagram: Diagram) -> Diagram:
    """Return as much of the diagram as a picture shows."""
    return diagram.first(MAX_ARROWS, MAX_LIFELINES)


class _Picture:
    """Lifelines in columns, transitions in rows.

    From the top: title, notes, a box for each chart, a row for each transition. From the left: the
    times, then the words of the first lifeline's arrows, if they come from the right, then the
    lifelines at equal distances, as wide as the longest words beside one.
    """

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        longest = max(
            *(_words_width(arrow) for arrow in diagram.arrows),
            *(len(shown(line.chart, _LABEL)) * _CHARACTER for line in diagram.lifelines),
        )
        self._column = round(longest) + _LOOP + 34
        # By lifeline its place from the left, and below its x; by an arrow's number its row.
        self._left = {line: place for place, line in enumerate(diagram.lifelines)}
        gutter = _MARGIN + round(max(len(_time(a)) for a in diagram.arrows) * _CHARACTER) + 28
        first = gutter + max(self._name_width // 2, round(self._words_at_the_left()))
        self._x = {line: first + place * self._column for line, place in self._left.items()}
        self._row = {arrow.number: row for row, arrow in enumerate(diagram.arrows)}
        self._arrow = {arrow.number: arrow for arrow in diagram.arrows}
        self._width = max(first + len(self._x) * self._column + _MARGIN, 640)
        # SVG breaks no lines: notes are broken here, by the number of characters that fit.
        columns = int((self._width - 2 * _MARGIN) / _CHARACTER)
        self._notes = [row for note in diagram.notes for row in textwrap.wrap(note, columns)]
        self._top = _MARGIN + 26 + _LINE * len(self._notes) + 12
        self._height = self._y(len(diagram.arrows) - 1) + _ROW // 2 + _MARGIN

    @property
    def _name_width(self) -> int:
        return self._column - 24

    def _comes_from_the_right(self, arrow: Arrow) -> bool:
        return arrow.sender is not None and self._left[arrow.sender] > self._left[arrow.target]

    def _words_at_the_left(self) -> float:
        """Return the room of the first lifeline's words, on the far side of their arrows."""
        first = self._diagram.lifelines[0]
        words = (
            _words_width(arrow)
            for arrow in self._diagram.arrows
            # Others stand to the right of it, so the words stand at the left of the line.
            if arrow.target == first and arrow.sender is not None
        )
        return max(words, default=0.0)

    def lines(self) -> Iterator[str]:
        """Yield the elements of the file, line by line."""
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width}" '
            f'height="{self._height}" viewBox="0 0 {self._width} {self._height}" '
            f'role="img" aria-labelledby="title">'
        )
        yield f'<title id="title">{escape(self._diagram.title)}</title>'
        yield f"<style>{STYLE}</style>"
        yield MARKERS
        yield f'<rect class="paper" width="{self._width}" height="{self._height}"/>'
        yield text_element("title", _MARGIN, _MARGIN + 14, self._diagram.title)
        for place, words in enumerate(self._notes):
            yield text_element("faint", _MARGIN, _MARGIN + 36 + _LINE * place, words)
        for line in self._diagram.lifelines:
            yield from self._lifeline(line)
        # Words above lines, whatever crosses them.
        yield from (self._path(arrow) for arrow in self._diagram.arrows)
        for arrow in self._diagram.arrows:
            yield from self._words(arrow)
        yield "</svg>"

    def _y(self, row: int) -> int:
        return self._top + _BOX + _ROW * row + _ROW // 2

    def _lifeline(self, line: Lifeline) -> Iterator[str]:
        x, width = self._x[line], self._name_width
        end = self._height - _MARGIN
        yield f'<line class="life" x1="{x}" y1="{self._top + _BOX}" x2="{x}" y2="{end}"/>'
        full = escape(shown(f"{line.chart}, {line.node or 'node unknown'}", 600))
        yield f"<g><title>{full}</title>"
        yield (
            f'<rect class="box" x="{x - width // 2}" y="{self._top}" width="{width}" '
            f'height="{_BOX}" rx="6"/>'
        )
        fits = int((width - 12) / _CHARACTER)
        name = shown(line.chart, fits)
        y = self._top + (18 if line.node else 26)
        yield text_element("name", x, y, name, "middle")
        if line.node:
            yield text_element("node", x, self._top + 34, shown(line.node, fits), "middle")
        yield "</g>"

    def _path(self, arrow: Arrow) -> str:
        x, y = self._x[arrow.target], self._y(self._row[arrow.number])
        if arrow.sender is None:
            loop = f"M{x} {y - 7}h{_LOOP - 6}q6 0 6 6v2q0 6 -6 6H{x + 2}"
            return f'<path class="own" d="{loop}" marker-end="url(#own)"/>'
        begin = self._x[arrow.sender]
        # The arrow's head ends beside the line and not on it.
        edge = x + (2 if begin > x else -2)
        return (
            f'<line class="sent" x1="{begin}" y1="{self._start(arrow)}" x2="{edge}" y2="{y}" '
            'marker-start="url(#from)" marker-end="url(#sent)"/>'
        )

    def _start(self, arrow: Arrow) -> int:
        """Return where the arrow leaves its sender: at the transition that caused it, if near."""
        row = self._row[arrow.number]
        # A cause that was cut has a number, and no row here.
        cause = self._arrow.get(arrow.cause or 0)
        if cause and cause.target == arrow.sender:
            row_of_cause = self._row[cause.number]
            if row - row_of_cause <= MAX_SLOPE_ROWS:
                return self._y(row_of_cause) + _AFTER
        return self._y(row)

    def _words(self, arrow: Arrow) -> Iterator[str]:
        x, y = self._x[arrow.target], self._y(self._row[arrow.number])
        yield text_element("time", _MARGIN, y + 4, _time(arrow))
        yield f"<g><title>{escape(_full(arrow))}</title>"
        at, anchor = x + 12, "start"
        if arrow.sender is None:
            at = x + _LOOP + 8
        elif self._comes_from_the_right(arrow):
            at, anchor = x - 12, "end"
        yield text_element("", at, y - 3, _label(arrow), anchor)
        yield text_element("faint", at, y + 12, _change(arrow), anchor)
        yield "</g>"


def _words_width(arrow: Arrow) -> float:
    return max(len(_label(arrow)), len(_change(arrow))) * _CHARACTER


def _time(arrow: Arrow) -> str:
    return f"{arrow.offset_s:+.3f} s"


def _label(arrow: Arrow) -> str:
    return f"({arrow.number}) {shown(arrow.signal, _LABEL)}()"


def _change(arrow: Arrow) -> str:
    half = _LABEL // 2
    return f"{shown(arrow.from_state, half)} → {shown(arrow.to_state, half)}"


def _full(arrow: Arrow) -> str:
    words = f"({arrow.number}) {shown(arrow.signal, 600)}() in {shown(arrow.target.label, 600)}: "
    words += f"{shown(arrow.from_state, 600)} → {shown(arrow.to_state, 600)}"
    if arrow.sender:
        words += f"; sent by {shown(arrow.sender.label, 600)}"
    return words + (f"; caused by ({arrow.cause})" if arrow.cause else "")
