"""What `miros-mesh snoop` prints of a record and of a gap."""

from __future__ import annotations

import json

import pytest

from miros_mesh.cli.snoop_lines import Printer
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.observe.logs.snoop_log import GAP_DATASET
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from support.sealed import record

LOST = SnoopGap("snoop_trace", "plant", "do\x1br", "1ncarn", 1, "lost")
SLOW = SnoopGap("snoop_spy", "plant", "door", "1ncarn", 1234, "slow_reader")


def test_a_gap_says_how_many_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=False, color=False).show([LOST, SLOW])
    assert capsys.readouterr().out.splitlines() == [
        r" [--] 1 record of do\x1br not shown: missing (snoop_trace, plant)",
        " [--] 1,234 records of door not shown: this reader is too slow (snoop_spy, plant)",
    ]


def test_a_gap_has_a_colour_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=False, color=True).show([SLOW])
    out = capsys.readouterr().out
    assert out.startswith("\033[93m [--] ")
    assert out.endswith("\033[0m\n")


def test_as_json_each_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=True, color=False).show([record(), SLOW])
    first, gap = map(json.loads, capsys.readouterr().out.splitlines())
    assert from_ecs(first) == record()
    assert gap["event"]["dataset"] == GAP_DATASET
    assert gap["service"]["node"]["name"] == "plant"
    assert (gap["miros_mesh"]["missing"], gap["miros_mesh"]["reason"]) == (1234, "slow_reader")


def test_it_follows_a_watch_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(2000)
    watch.take("snoop_trace", [record(f"step {n}", sequence=n) for n in range(1, 1201)])
    watch.close()
    Printer(as_json=False, color=False).follow(watch)
    assert len(capsys.readouterr().out.splitlines()) == 1200
