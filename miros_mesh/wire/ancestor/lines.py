"""Snoop lines of miros-rabbitmq to records and back: plain texts, and none of their parts."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from datetime import datetime
from typing import Any, Final, Literal

from msgspec.structs import replace

from miros_mesh.text import encodable, printable
from miros_mesh.wire.ancestor import pickles
from miros_mesh.wire.ancestor.codec import ANCESTOR, INCARNATION, TokenCodec, malformed
from miros_mesh.wire.envelope import MAX_NAME, SnoopRecord
from miros_mesh.wire.keyring import KeyRing, OpenedToken

_STAMP: Final = "%Y-%m-%d %H:%M:%S.%f"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
# Atomic groups: each part ends at its first mark, and no other end is tried. Else a line of some
# thousand characters that does not fit would be tried for hours.
_STAMP_AND_CHART: Final = (
    r"\[(?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})\] "
    r"\[(?>(?P<chart>[^\n]+?)\] (?=%s))"
)
_TRACE: Final = re.compile(
    _STAMP_AND_CHART % "e->"
    + r"(?P<text>e->(?>(?P<signal>[^\n]+?)\(\) )(?>(?P<start>[^\n]*?)->)(?P<end>[^\n]*))"
)
_SCRIBBLE: Final = re.compile(_STAMP_AND_CHART % "#" + r"# ?(?P<text>.*)", re.DOTALL)
# The chart's name may have spaces, and a step begins with the signal's, which may have some, too:
# the first word is what the ancestor itself takes for the name.
_SPY: Final = re.compile(r"(?P<chart>\S+) (?P<text>.*)", re.DOTALL)
# Time zones differ by so much, or by some of it.
_QUARTER_S: Final = 900
_MOST_CHARTS: Final = 1_000


class LineCodec(TokenCodec[SnoopRecord]):
    """Records of one snoop stream to tokens of miros-rabbitmq and back; for one receiving thread.

    A line names its chart and no node: `ANCESTOR` stands for that. One above `max_line_bytes` is
    refused, as a record of this library would be.
    """

    def __init__(
        self,
        keyring: KeyRing,
        stream: Literal["trace", "spy"],
        *,
        max_line_bytes: int,
        max_bytes: int,
        **more: Any,
    ) -> None:
        super().__init__(keyring, max_bytes=max_bytes, **more)
        self._stream = stream
        self._max_line_bytes = max_line_bytes
        # Its lines have no numbers; these are for those who look for gaps, and for copies: so they
        # are of an incarnation that no other receiver has.
        self._incarnation = f"{INCARNATION}-{secrets.token_hex(6)}"
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def _value(self, message: SnoopRecord) -> pickles.Value:
        return line_of(message)

    def _message(self, value: pickles.Value, opened: OpenedToken) -> SnoopRecord:
        if not isinstance(value, str):
            raise malformed("on a snoop network that is no text")
        if len(opened.plain) > self._max_line_bytes:
            raise malformed(f"with a line above {self._max_line_bytes:,} bytes")
        record = record_of(value, self._stream, opened.sealed_at)
        return replace(
            record, incarnation=self._incarnation, sequence=self._next_number(record.chart)
        )

    def _next_number(self, chart: str) -> int:
        number = self._numbers.pop(chart, 0) + 1
        self._numbers[chart] = number
        if len(self._numbers) > _MOST_CHARTS:
            # Who has the key may name as many as it likes; one that is forgotten begins anew.
            self._numbers.popitem(last=False)
        return number


def line_of(record: SnoopRecord) -> str:
    """Return a record as the line that miros-rabbitmq sends, in the time zone of this host.

    Control characters are escaped: who reads it prints it as it is.
    """
    chart, text = printable(record.chart), printable(record.text)
    if record.kind == "spy":
        return f"{chart} {text}"
    mark = "# " if record.kind == "scribble" else ""
    return f"[{datetime.fromtimestamp(record.time).strftime(_STAMP)}] [{chart}] {mark}{text}"  # noqa: DTZ006


def record_of(line: str, stream: Literal["trace", "spy"], sealed_at: float) -> SnoopRecord:
    """Return the record of a line that came in a stream, sealed at that time; it has no number.

    One that cannot be read in parts is kept as it is, under the name `ANCESTOR`.
    """
    plain = encodable(_COLOURS.sub("", line).strip("\n"))
    forms = (_TRACE, _SCRIBBLE) if stream == "trace" else (_SCRIBBLE, _SPY)
    # Its spy lines have the chart's name in front, a scribble's too.
    bare = plain.partition(" ")[2] if stream == "spy" and "] # " in plain else plain
    for form in forms:
        found = form.fullmatch(plain if form is _SPY else bare)
        parts = found.groupdict() if found else {}
        if parts and all(len(each) <= MAX_NAME for name, each in parts.items() if name != "text"):
            return _record(form, stream, parts, sealed_at)
    return _record(None, stream, {"text": plain}, sealed_at)


def _record(
    form: re.Pattern[str] | None,
    stream: Literal["trace", "spy"],
    parts: dict[str, str],
    sealed_at: float,
) -> SnoopRecord:
    return SnoopRecord(
        node=ANCESTOR,
        chart=parts.get("chart", ANCESTOR),
        incarnation=INCARNATION,
        sequence=1,
        kind="scribble" if form is _SCRIBBLE else stream,
        time=_time_of(parts.get("stamp"), sealed_at),
        text=parts["text"],
        signal=parts.get("signal") or None,
        from_state=parts.get("start"),
        to_state=parts.get("end"),
    )


def _time_of(stamp: str | None, sealed_at: float) -> float:
    """Return when a step was made, by a stamp without a zone and the second of its sending."""
    if stamp is None:
        return float(sealed_at)
    try:
        told = datetime.strptime(stamp, _STAMP).timestamp()  # noqa: DTZ007 - it has no zone
    except (ValueError, OverflowError, OSError):
        return float(sealed_at)
    at = told - round((told - sealed_at) / _QUARTER_S) * _QUARTER_S
    return max(at, 0.0)
