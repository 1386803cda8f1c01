"""The ancestor's bodies: what Python wrote is read, nothing else is, and nothing is unpickled."""

from __future__ import annotations

import os
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import MalformedFrameError
from miros_mesh.wire.ancestor import pickles
from miros_mesh.wire.ancestor.pickles import MARK, Read, read, written
from support.pickled import EVENT, TEXT, VALUES, WRITTEN_BY, is_read, mutants, opcodes

OF_ANCESTORS = (3, 4, 5)
SOME = 20_000
MILLION = 1_000_000
texts = st.text(st.characters(exclude_categories=("Cs",)))
values = texts | st.tuples(texts, texts)


@pytest.mark.parametrize("protocol", OF_ANCESTORS)
@pytest.mark.parametrize("value", VALUES, ids=[str(n) for n in range(len(VALUES))])
def test_what_python_wrote_is_read(value: pickles.Value, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == Read(value, ours=False)


def test_older_protocols_are_refused_as_no_ancestor_wrote_them() -> None:
    assert [protocol for protocol in WRITTEN_BY if is_read(protocol)] == list(OF_ANCESTORS)


def test_this_python_writes_what_the_table_says() -> None:
    low, _, high = WRITTEN_BY[pickle.DEFAULT_PROTOCOL].partition(" to ")
    version = sys.version_info[:2]
    assert tuple(map(int, low.split("."))) <= version <= tuple(map(int, (high or low).split(".")))


@given(values, st.sampled_from(OF_ANCESTORS))
def test_each_value_comes_back(value: pickles.Value, protocol: int) -> None:
    try:
        assert read(pickle.dumps(value, protocol)).value == value
    except MalformedFrameError:
        # One text twice is written once, and named again: no address is an event.
        assert isinstance(value, tuple)
        assert value[0] == value[1]


@given(values)
def test_what_is_written_python_reads_and_so_do_we(value: pickles.Value) -> None:
    body = written(value)

    assert read(body) == Read(value, ours=True)
    assert pickle.loads(body) == value
    # As the ancestor's Python did, but for the mark, which it does not see.
    if not (isinstance(value, tuple) and value[0] == value[1]):
        assert body == pickle.dumps(value, 3) + MARK


@pytest.mark.parametrize("body", [pickle.dumps(EVENT, 3), pickle.dumps(TEXT, 4)])
@pytest.mark.parametrize("rest", [b"x", MARK[:-1], MARK + b"x", b".", MARK * 2])
def test_nothing_but_the_mark_may_stand_behind(body: bytes, rest: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        read(body + rest)


class Runs:
    """What would run if it was unpickled."""

    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Runs, "ran", True)


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_and_not_run(protocol: int) -> None:
    for value in (Runs(), ("10.0.0.1", Runs()), (Runs(), "x"), [EVENT], {"a": EVENT}):
        with pytest.raises(MalformedFrameError):
            read(pickle.dumps(value, protocol))
    assert not Runs.ran


@pytest.mark.parametrize(
    "value",
    [None, 1, 0.5, True, b"x", (), ("a",), ("a", 1), ("a", None), ("a", "b", "c"), ["a", "b"]],
    ids=repr,
)
@pytest.mark.parametrize("protocol", range(6))
def test_any_other_value_is_refused(value: object, protocol: int) -> None:
    with pytest.raises(MalformedFrameError):
        read(pickle.dumps(value, protocol))


def test_each_foreign_opcode_is_refused_before_its_argument_is_read() -> None:
    known = set(pickles._CODES.decode("latin-1"))
    foreign = [each for each in pickletools.opcodes if each.code not in known]
    assert len(known) + len(foreign) == len(pickletools.opcodes)
    for each in foreign:
        for head in (b"", b"\x80\x03", b"\x80\x04X\1\0\0\0a"):
            with pytest.raises(MalformedFrameError):
                # A length of which no memory may be asked.
                read(head + each.code.encode("latin-1") + b"\xff" * 8 + b"\n.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b".",
        b"\x80",
        b"\x80\x03.",
        b"\x80\x03X\xff\xff\xff\xffabc",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x03X\1\0\0\0\xffq\0.",
        b"\x80\x03X\1\0\0\0aq\0" + b"q\0" * 1000 + b".",
        b"\x80\x04" + b"\x95" + b"\0" * 8 + b"\x95" * 1000,
        b"\x80\x03\x80\x03X\1\0\0\0aq\0.",
        b"\x80\x03\x95\0\0\0\0\0\0\0\0X\1\0\0\0aq\0.",
        b"\x80\x04X\1\0\0\0aq\0.",
        b"\x80\x03X\1\0\0\0a\x94.",
        b"\x80\x09X\1\0\0\0aq\0.",
        b"X\1\0\0\0aq\0.",
    ],
)
def test_torn_and_odd_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        read(body)


def test_half_a_surrogate_pair_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        written("\ud800")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> set[type]:
    """The types of all that pickletools makes of a body."""
    types: set[type] = set()
    genops = pickletools.genops

    def noting(body: Any) -> Iterator[Any]:
        for opcode, argument, place in genops(body):
            types.add(type(argument))
            yield opcode, argument, place

    monkeypatch.setattr(pickletools, "genops", noting)
    return types


def test_mutated_bodies_end_in_a_value_or_in_our_error(made: set[type]) -> None:
    assert all_are_read_or_refused(SOME) > 0
    assert made <= {str, int, type(None)}


@pytest.mark.proof
def test_a_million_mutated_bodies_end_in_a_value_or_in_our_error(made: set[type]) -> None:
    taken = all_are_read_or_refused(MILLION)
    print(f"{MILLION:,} bodies: {taken:,} taken, {MILLION - taken:,} refused; made: {made}")
    assert made <= {str, int, type(None)}


def all_are_read_or_refused(amount: int, read: Callable[[bytes], Read] = read) -> int:
    """How many were taken; the seed is told where one fails."""
    seed, taken = int.from_bytes(os.urandom(4), "big"), 0
    for number, body in enumerate(mutants(seed, amount)):
        try:
            value = read(body).value
        except MalformedFrameError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, number {number}: {body!r}") from error
        taken += 1
        assert type(value) in (str, tuple), (seed, number)
        if not isinstance(value, str):
            assert [type(each) for each in value] == [str, str], (seed, number)
    return taken


def test_the_opcodes_are_those_of_the_table() -> None:
    assert opcodes(TEXT, 3) == "PROTO BINUNICODE BINPUT STOP"
    assert opcodes(TEXT, 4) == "PROTO FRAME SHORT_BINUNICODE MEMOIZE STOP"
    assert opcodes(EVENT, 3) == ("PROTO BINUNICODE BINPUT BINUNICODE BINPUT TUPLE2 BINPUT STOP")
