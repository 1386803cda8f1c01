"""What Python's pickle writes of the ancestor's values, and bodies that are wrong."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Iterator
from random import Random
from typing import Final

from miros_mesh.errors import MalformedFrameError
from miros_mesh.wire.ancestor import pickles

# Which Python writes a protocol unless it is told another one.
WRITTEN_BY: Final = {
    0: "none since 3.0",
    1: "none since 3.0",
    2: "none since 3.0",
    3: "3.0 to 3.7",
    4: "3.8 to 3.13",
    5: "3.14",
}
TEXT: Final = "[2019-06-20 06:14:48.123456] [ao] e->start_at() top->outer"
EVENT: Final = ("192.168.1.75", '{"signal_name": "other_to_outer", "payload": "ao"}')
# Each form that a length has.
VALUES: Final[tuple[pickles.Value, ...]] = (
    *("", "a", TEXT, "\u00e9" * 200, "x" * 255, "x" * 256, "x" * 70_000),
    *(EVENT, ("10.0.0.1", "x" * 300), ("10.0.0.1", "\u20ac" * 70_000), ("", "a")),
)


def opcodes(value: pickles.Value, protocol: int) -> str:
    """The names of the opcodes that a value is written in."""
    return " ".join(each.name for each, _, _ in pickletools.genops(pickle.dumps(value, protocol)))


def is_read(protocol: int) -> bool:
    """Whether the values of a protocol are read."""
    read = []
    for value in VALUES:
        try:
            read.append(pickles.read(pickle.dumps(value, protocol)).value == value)
        except MalformedFrameError:
            read.append(False)
    assert len(set(read)) == 1, protocol
    return read[0]


def table() -> str:
    """What each protocol writes, by which Python, and whether that is read."""
    rows = []
    for protocol, who in WRITTEN_BY.items():
        read = "yes" if is_read(protocol) else "no"
        rows.append(f"| {protocol} | {who} | `{opcodes(TEXT, protocol)}` | {read} |")
    head = ["| protocol of pickle | unless told otherwise, of Python | a text, as opcodes | read |"]
    return "\n".join([*head, "| --- | --- | --- | --- |", *rows])


def mutants(seed: int, amount: int) -> Iterator[bytes]:
    """Bodies with bytes changed, added, taken away, doubled, or put together of two."""
    random = Random(seed)
    bodies = [pickle.dumps(value, protocol) for value in VALUES for protocol in range(6)]
    bodies += [pickles.written(value) for value in VALUES]
    others: tuple[object, ...] = (None, 1, 2**70, 0.5, b"x", [], {}, {1}, {"a": [1]})
    others += (Exception("x"), print, object(), slice(1, 2))
    bodies += [pickle.dumps(each) for each in others]
    bodies = [each for each in bodies if len(each) < 2_000]
    # Any opcode, where it makes the most of it.
    codes = [each.code.encode("latin-1") for each in pickletools.opcodes]
    for _ in range(amount):
        body = bytearray(random.choice(bodies))
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            place = random.randrange(len(body) + 1)
            what = random.randrange(6)
            if what == 0:
                body[place : place + 1] = random.choice(codes)
            elif what == 1:
                body[place:place] = random.choice(codes)
            elif what == 2:
                del body[place : place + random.choice((1, 2, 9))]
            elif what == 3:
                body[place : place + 1] = random.randbytes(random.choice((1, 4, 8)))
            elif what == 4:
                body[place:place] = body[max(place - random.randrange(20), 0) : place]
            else:
                other = random.choice(bodies)
                body[place:] = other[random.randrange(len(other)) :]
        yield bytes(body)
