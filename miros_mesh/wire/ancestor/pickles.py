"""Reads the pickles that miros-rabbitmq has written, and writes such; nothing is ever unpickled.

What it sent was a text, or a tuple of two. Eight opcodes are all that such a value needs, in three
orders that Python's pickle has had since 3.0:

| protocol | written by Python | a text | a tuple of two |
| --- | --- | --- | --- |
| 3 | 3.0 to 3.7 | BINUNICODE BINPUT | that twice, TUPLE2 BINPUT |
| 4, 5 | 3.8 to 3.13, 3.14 | SHORT_BINUNICODE or BINUNICODE, MEMOIZE | that twice, TUPLE2 MEMOIZE |

PROTO stands before it, STOP behind it, and FRAME anywhere from protocol 4 on. Anything else is
refused at its first foreign opcode, before that is read.
"""

from __future__ import annotations

import io
import pickletools  # nosec B403
from typing import Final, NamedTuple, TypeAlias, cast

from miros_mesh.errors import MalformedFrameError

Value: TypeAlias = str | tuple[str, str]
"""What a body holds."""

MARK: Final = b"miros_mesh"
"""Behind the pickle of a node of this library. Python's pickle ignores what stands there."""

_WRITTEN: Final = 3
_PROTO, _FRAME, _STOP = "PROTO", "FRAME", "STOP"
# The opcodes of a text, by protocol; the one for a short text is counted as the other.
_LONG, _SHORT = "BINUNICODE", "SHORT_BINUNICODE"
_TEXT: Final = {
    3: (_LONG, "BINPUT"),
    4: (_LONG, "MEMOIZE"),
    5: (_LONG, "MEMOIZE"),
}
# PROTO, FRAME, BINUNICODE, SHORT_BINUNICODE, BINPUT, MEMOIZE, TUPLE2, STOP.
_CODES: Final = b"\x80\x95X\x8cq\x94\x86."
# PROTO, two texts with what notes them, TUPLE2 likewise, STOP, and four FRAMEs at most.
_MOST_OPCODES: Final = 12


class Read(NamedTuple):
    """What a body holds, and from whom it is."""

    value: Value
    ours: bool
    """Whether a node of this library has written it."""


def read(body: bytes) -> Read:
    """Return what a body holds; raises `MalformedFrameError` for any other bytes.

    Makes no object but texts, whole numbers and a tuple, and none that is larger than the body.
    """
    source = _KnownOpcodes(body)
    names, texts, protocol = list[str](), list[str](), 0
    try:
        for opcode, argument, _ in pickletools.genops(source):
            name = opcode.name
            if name == _PROTO and not names:
                protocol = cast("int", argument)
            elif name in (_LONG, _SHORT):
                texts.append(cast("str", argument))
                name = _LONG
            names.append(name)
            if len(names) > _MOST_OPCODES:
                break
    except (ValueError, RecursionError) as error:
        # Of pickletools, and those of its own kind: what the bytes are is not told.
        raise _malformed() from error
    value = _value(protocol, names, texts)
    if value is None:
        raise _malformed()
    rest = source.read()
    if rest not in (b"", MARK):
        raise _malformed()
    return Read(value, ours=rest == MARK)


def written(value: Value) -> bytes:
    """Return a body as Python 3.5 to 3.7 pickled it, with the mark of this library behind it.

    Raises `UnicodeEncodeError` for half a surrogate pair, which no other side can print.
    """
    texts = (value,) if isinstance(value, str) else value
    parts = [b"\x80", bytes([_WRITTEN])]
    for place, text in enumerate(texts):
        data = text.encode()
        parts += [b"X", len(data).to_bytes(4, "little"), data, b"q", bytes([place])]
    if not isinstance(value, str):
        parts += [b"\x86q", bytes([len(texts)])]
    return b"".join((*parts, b".", MARK))


class _KnownOpcodes(io.BytesIO):
    """Bytes whose next opcode is looked at before it is read."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body

    def tell(self) -> int:
        """Return the place; raises `ValueError` where no opcode of ours stands.

        pickletools asks for it before each opcode, and reads the opcode's argument after that.
        """
        place = super().tell()
        if place >= len(self._body) or self._body[place] not in _CODES:
            raise ValueError("not an opcode of a text or a tuple of two")
        return place


def _value(protocol: int, names: list[str], texts: list[str]) -> Value | None:
    """Return what opcodes make in the order of one of the protocols; None for another order."""
    text = _TEXT.get(protocol)
    if text is None or (protocol == _WRITTEN and _FRAME in names):
        return None
    begin, _, note = _PROTO, *text
    order = [name for name in names if name != _FRAME]
    if order == [begin, *text, _STOP]:
        return texts[0]
    if order == [begin, *text, *text, "TUPLE2", note, _STOP]:
        return texts[0], texts[1]
    return None


def _malformed() -> MalformedFrameError:
    return MalformedFrameError(
        "a body that holds neither a pickled text nor a pickled tuple of two texts: it is not of "
        "miros-rabbitmq, or its program has a serializer of its own"
    )
