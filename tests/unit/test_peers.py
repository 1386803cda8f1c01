"""`make bench ARGS=peers` and `ARGS=against`: what fails a column, and how figures are told."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
sys.path.append(str(Path(__file__).parents[2] / "bench" / "programs"))
import against
import backlog
import builds
import discovery
import environment
import options
import patterns
import peer_report
import peers
import processes
import talk
from foreign import Foreign
from measure import MeasureError
from talks import Burst, Rounds

QUICK_S = 0.01


def _tally(*numbers: int, expected: int = 3, in_order: bool = True) -> dict[str, object]:
    tally = talk.Tally(expected, in_order=in_order)
    for number in numbers:
        tally.count(number, 0)
    return tally.result(QUICK_S)


def _rounds(rate: float, way_s: float) -> Rounds:
    bursts = [Burst(rate * each, 0.2, 0.7, 0.1, 50_000_000) for each in (0.5, 1, 2)]
    return Rounds(bursts, [[way_s] * 10] * 3)


COLUMNS = {
    peer_report.STOCK: _rounds(16_800, 0.0001),
    peer_report.MESH: _rounds(20_160, 0.001),
    peer_report.NATS: _rounds(12_000, 0.0008),
}


def test_all_events_in_order_are_figures() -> None:
    result = _tally(1, 2, 3)
    assert "wrong" not in result
    assert len(result["latencies_ns"]) == 3


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((1, 2), "only 2 of 3 events were handled"),
        ((1, 2, 2), "event 2 came twice"),
        ((1, 3, 2), "event 3 came in place of 2"),
        ((1, 2, 9), "event 9 was never sent"),
        ((1, 2, 0), "event 0 was never sent"),
    ],
)
def test_what_is_missing_doubled_or_out_of_order_gives_no_figure(
    numbers: tuple[int, ...], wrong: str
) -> None:
    assert wrong in _tally(*numbers)["wrong"]


def test_an_event_that_comes_again_after_all_others_is_seen() -> None:
    assert _tally(1, 2, 3, 3)["wrong"] == "event 3 came twice"


def test_order_counts_only_where_it_is_promised() -> None:
    assert "wrong" not in _tally(2, 1, 3, in_order=False)
    assert "came twice" in _tally(2, 1, 2, in_order=False)["wrong"]


@pytest.mark.parametrize("size", [100, 1024, 65_536])
def test_an_event_has_the_size_that_is_said(size: int) -> None:
    content = talk.body(7, talk.filler(size))
    assert len(content) == size
    number, sent_ns = talk.opened(content)
    assert number == 7
    assert sent_ns > 0


def test_a_program_that_fails_says_why() -> None:
    settings = {
        "role": "sender",
        "confirmed": True,
        "topic": "t",
        "url": "amqp://a:b@127.0.0.1:1//",
    }
    with (
        Foreign(Path(sys.executable), "kombu_peer", **settings) as program,
        pytest.raises(MeasureError, match="kombu_peer, as sender, ended: "),
    ):
        program.wait()


def test_every_column_says_what_it_promises_and_how_it_was_set_up() -> None:
    assert set(peers.WAYS) == set(peer_report.PROMISES)
    for promise in peer_report.PROMISES.values():
        assert promise.settings
        assert promise.brief().startswith(promise.delivery)


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (peers, "--only=stock miros; NATS", "argument --only: NATS is none of stock miros; "),
        (peers, "--only=", "argument --only: '' is none of stock miros; "),
        (peers, "--without=NATS", "argument --without: NATS is none of stock miros; "),
        (peers, f"--without={';'.join(peers.WAYS)}", "--without leaves no column"),
        (peers, "--only=nameko --without=nameko", "--without leaves no column"),
        (peers, "--quick --write-docs", "--write-docs takes a whole run"),
        (peers, "--runs=0", "argument --runs: from 1 to 100"),
        (peers, "--idle=1", "argument --idle: from 2 to 2000"),
        (peers, "--idle=many", "argument --idle: invalid number value: 'many'"),
        (patterns, "--runs=0", "argument --runs: from 1 to 100"),
        (patterns, "--alone=-5", "argument --alone: from 2 to 100000"),
        (patterns, "--sustained=1", "argument --sustained: from 64 to 100000"),
        (patterns, "--without=NATS", "argument --without: NATS is none of raw Kombu, "),
        (patterns, f"--without={','.join(patterns.GUARANTEES)}", "--without leaves no column"),
        (discovery, "--runs=0", "argument --runs: from 1 to 100"),
        (discovery, "--rest=-1", "argument --rest: from 1 to 600"),
        (backlog, "--events=0", "argument --events: from 1 to 1000000"),
    ],
)
def test_options_without_a_meaning_are_refused_before_anything_starts(
    command: Any, given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--{each.rstrip()}" for each in given.split("--")[1:]]
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert "starting" not in told


def test_the_table_has_medians_and_the_range_of_the_rates() -> None:
    line = peer_report.table(COLUMNS).splitlines()[1]
    assert line.split() == (
        [
            "stock",
            "miros",
            "16,800",
            "0.10",
            "ms",
            "0.10",
            "ms",
            "0.20",
            "s",
            "-",
            "-",
            "48",
            "MiB",
            "8,400",
            "to",
            "33,600",
            "/s",
        ]
    )


def test_what_has_two_processes_and_a_server_has_the_figures_of_all() -> None:
    assert peer_report.cells(peer_report.MESH, COLUMNS[peer_report.MESH])[3:6] == [
        "0.20 s",
        "0.70 s",
        "0.10 s",
    ]
    assert peer_report.cells(peer_report.EMBEDDED, COLUMNS[peer_report.MESH])[4:6] == [
        "0.70 s",
        "-",
    ]


def test_ratios_are_told_to_those_that_were_measured() -> None:
    rates, ways = peer_report.ratios(COLUMNS).split("\n\n")
    assert rates.splitlines()[0].split("  ")[0] == "times the rate of"
    assert "Kombu" not in rates
    mesh = next(line for line in rates.splitlines() if line.startswith(peer_report.MESH))
    assert mesh.split()[-2:] == ["1.2", "1.68"]
    mesh = next(line for line in ways.splitlines() if line.startswith(peer_report.MESH))
    assert mesh.split()[-2:] == ["10", "1.25"]


def test_the_docs_get_tables_and_charts_in_place_of_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nafter\n")
    peer_report.write_docs(tmp_path, COLUMNS, "2 cores")
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert "| stock miros | 16,800 |" in written
    assert peer_report.FRAMES in written
    images = {image.name: image.read_bytes() for image in (tmp_path / "images").iterdir()}
    assert {f"](images/{name})" in written for name in images} == {True}
    peer_report.write_docs(tmp_path, COLUMNS, "2 cores")
    assert page.read_text() == written
    assert {image.name: image.read_bytes() for image in (tmp_path / "images").iterdir()} == images


def test_docs_without_a_place_for_it_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="peers: begin"):
        peer_report.write_docs(tmp_path, COLUMNS, "2 cores")
    assert (tmp_path / "benchmarks.md").read_text() == "nothing\n"


def test_two_builds_are_told_with_their_ratio() -> None:
    rows = against.Rows()
    for before, after in ((10_000, 20_000), (12_000, 18_000), (8_000, 24_000)):
        rows.add("v1", {"RabbitMQ: events/s": before})
        rows.add("now", {"RabbitMQ: events/s": after})
    line = against.table(rows, "v1", "now").splitlines()[1]
    assert line.split("  ")[0] == "RabbitMQ: events/s"
    assert line.split()[2:] == ["10,000", "/s", "20,000", "/s", "2.00", "1.50", "to", "3.00"]
    assert against.as_json(rows, "v1", "now")["rows"]["RabbitMQ: events/s"]["ratio"] == 2


def test_idle_latencies_are_told_beside_plain_kombu() -> None:
    rows = against.Rows()
    rows.add(against.BARE, against.idle_values(against.BARE, [0.001] * 10))
    rows.add("now", against.idle_values("embedded", [0.002] * 10))
    text = against.beside_kombu(rows)
    assert "embedded: idle latency, median, now: 2.00 x" in text
    assert against.BARE not in against.table(rows, "v1", "now")


def test_a_share_too_small_for_a_tick_is_no_error() -> None:
    rows = against.Rows()
    rows.add("v1", {"CPU of the broker": 0.0})
    rows.add("now", {"CPU of the broker": 0.0})
    assert against.table(rows, "v1", "now").splitlines()[1].split()[-4] == "0.00"


def test_a_commit_that_there_is_not_is_told() -> None:
    with pytest.raises(MeasureError, match=r"no commit no\.such in this checkout"):
        builds.of_commit("no.such")


def test_versions_are_those_of_the_lock() -> None:
    (redis,) = environment.locked("peers", "redis")
    assert redis.startswith("redis ")
    assert redis.split()[1][0].isdigit()


def test_what_a_process_took_is_found() -> None:
    before = processes.cpu_s(os.getpid())
    while processes.cpu_s(os.getpid()) == before:
        sum(range(10_000))
    assert processes.cpu_s(None) == 0
    processes.forget_peak(os.getpid())
    assert processes.peak_bytes(os.getpid()) > 1_000_000


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    assert options.file_to_write(str(tmp_path / "new.json")) == tmp_path / "new.json"
    with pytest.raises(argparse.ArgumentTypeError, match="there is no folder .*: make it first"):
        options.file_to_write(str(tmp_path / "missing" / "new.json"))
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder"):
        options.file_to_write(str(tmp_path))
