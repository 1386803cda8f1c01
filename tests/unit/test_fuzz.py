"""Nothing that comes from outside ends in an error but ours: what `make fuzz` does, in short."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.__main__ import main, outcome_of, table
from fuzz.mutations import CHANGES, changed
from fuzz.readers import Readers, SlowError
from fuzz.seeds import MANY_DIGITS, STEP, seeds

SEEDS = seeds()
KINDS = tuple(SEEDS)
MOST_MORE_BYTES = 1024**3
# The folder is the same for all inputs of a test, and each input is a new file there.
quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
edits = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 3), st.binary(max_size=8)))


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """No input may make the library ask for a gigabyte."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + MOST_MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def readers(tmp_path: Path) -> Readers:
    return Readers(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_an_input_of_each_kind_that_is_taken(readers: Readers, kind: str) -> None:
    assert readers.read(kind, SEEDS[kind][0])


def test_what_every_network_carries_is_taken_in_every_form(readers: Readers) -> None:
    assert all(readers.read("contents", each) for each in SEEDS["contents"])
    assert all(readers.read("frames", each) for each in SEEDS["frames"])


@pytest.mark.parametrize("kind", KINDS)
@quickly
@given(data=st.binary(max_size=300))
def test_bytes_are_taken_or_refused(readers: Readers, kind: str, data: bytes) -> None:
    readers.read(kind, data)


@pytest.mark.parametrize("kind", KINDS)
@quickly
@given(place=st.integers(0, 200), edits=edits)
def test_an_input_with_other_bytes_in_it_is_taken_or_refused(
    readers: Readers, kind: str, place: int, edits: list[tuple[int, int, bytes]]
) -> None:
    data = SEEDS[kind][place % len(SEEDS[kind])]
    for at, length, new in edits:
        cut = at % (len(data) + 1)
        data = data[:cut] + new + data[cut + length :]
    readers.read(kind, data)


@pytest.mark.parametrize("kind", CHANGES)
@quickly
@given(place=st.integers(0, 200), seed=st.integers(0, 2**32), times=st.integers(1, 4))
def test_an_input_with_other_values_in_it_is_taken_or_refused(
    readers: Readers, kind: str, place: int, seed: int, times: int
) -> None:
    data, random = SEEDS[kind][place % len(SEEDS[kind])], Random(seed)
    for _ in range(times):
        data = changed(kind, data, random) or data
    readers.read(kind, data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        # A ValueError of Python, which reads no number of so many digits, ended the charts.
        ("urls", f"host:{MANY_DIGITS}".encode()),
        ("hosts", b'{"hosts": ["host:%s"]}' % MANY_DIGITS.encode()),
        # An address that could not be shown, for a user that is no UTF-8.
        ("urls", b"amqp://\xff:p@host/"),
        # Three names that none is like took three seconds each, or minutes.
        ("settings", b"MIROS_MESH_" + b"_A" * 10_000 + b"=x"),
        # No chart takes such a content, so the one that asked for it waited for ever.
        ("hosts", b'{"hosts": ["10.0.0.1"], "more": %s}' % (b"[" * 60 + b"]" * 60)),
        ("cache", b'{"searches": {}, "more": %s}' % (b"[" * 60 + b"]" * 60)),
        # Python writes less deep than it reads.
        ("cache", b'{"searches": {}, "more": %s}' % (b"[" * 900 + b"]" * 900)),
        # A head that promises four thousand million values.
        ("payloads", b"\xdd\xff\xff\xff\xff"),
        ("contents", b"\x00\x02\xdd\xff\xff\xff\xff"),
        # A line of an old node that is nearly a trace was tried for eight seconds, or for hours.
        ("ancestors", b"\x01" + pickle.dumps(f"{STEP}{'] e->a() ->' * 200}\nx", 3)),
    ],
)
def test_what_was_found_once_stays_found(readers: Readers, kind: str, data: bytes) -> None:
    readers.read(kind, data)


def test_an_error_that_is_not_documented_is_a_fault(readers: Readers) -> None:
    def fails(data: bytes) -> bool:
        raise UnicodeDecodeError("utf-8", data, 0, 1, "not ours")

    readers.all["urls"] = fails
    with pytest.raises(UnicodeDecodeError):
        readers.read("urls", b"a")


def test_an_input_that_takes_long_is_a_fault(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.readers.LONGEST_S", 0.0)
    with pytest.raises(SlowError, match="1 bytes took"):
        readers.read("urls", b"a")


SAID = """\
#2	INITED cov: 1 ft: 1 corp: 1/1b exec/s: 0 rss: 77Mb
#4608	DONE   cov: 73 ft: 138 corp: 22/4113b lim: 4096 exec/s: 768 rss: 77Mb
stat::number_of_executed_units: 4608
stat::average_exec_per_sec:     768
stat::peak_rss_mb:              78
"""
CRASHED = """\
artifact_prefix='x/'; Test unit written to x/crash-1
stat::number_of_executed_units: 7
"""


def test_what_libfuzzer_says_becomes_a_row() -> None:
    good = outcome_of("urls", 0, SAID, 40)
    assert not good.failed
    *_, row, _ = table([good]).splitlines()
    assert row == "| urls | 4,608 | 40 | 768 | 22 | 78 | 0 |"


def test_a_search_that_found_something_or_never_began_has_failed() -> None:
    found = outcome_of("urls", 77, CRASHED, 0)
    assert (found.failed, found.reproducer) == (True, "x/crash-1")
    assert outcome_of("urls", 0, "No module named atheris").failed
    assert table([found]).endswith("| all of them | 7 | 0 | | 0 | | 1 |")


def test_an_input_is_read_again_as_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"amqp://host")
    assert main(["--target", "urls", "--input", str(file)]) == 0
    assert "read as documented" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--input", str(file)])
