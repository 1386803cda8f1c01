"""A file of `miros-mesh snoop --json`, read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miros_mesh.errors import SnoopLogError
from miros_mesh.observe.logs.ecs import to_ecs
from miros_mesh.observe.logs.snoop_log import GAP_DATASET, read_snoop_log
from miros_mesh.wire.envelope import SnoopRecord
from support.sealed import record


def kept(folder: Path, *records: SnoopRecord) -> Path:
    file = folder / "kept.json"
    file.write_text("".join(json.dumps(to_ecs(each)) + "\n" for each in records))
    return file


def test_what_is_no_record_is_counted_and_a_gap_is_not(tmp_path: Path) -> None:
    file = kept(tmp_path, record())
    gap = json.dumps({"event": {"dataset": GAP_DATASET}})
    file.write_text("\n".join([file.read_text().strip(), gap, '{"event"', "[]", '{"a": 1}', ""]))
    log = read_snoop_log(file)
    assert (log.records, log.torn) == ([("snoop_trace", record())], 3)


def test_a_line_nested_too_deep_is_torn(tmp_path: Path) -> None:
    file = kept(tmp_path, record())
    file.write_text("[" * 100_000 + "\n" + file.read_text())
    log = read_snoop_log(file)
    assert (log.records, log.torn) == ([("snoop_trace", record())], 1)


def test_a_scribble_came_by_the_trace_unless_its_chart_takes_part_in_spy_alone(
    tmp_path: Path,
) -> None:
    kinds = {"both": ("trace", "spy", "scribble"), "spied": ("spy", "scribble")}
    records = [record(chart=chart, kind=kind) for chart, own in kinds.items() for kind in own]
    log = read_snoop_log(kept(tmp_path, *records))
    assert [network for network, _ in log.records] == [
        *("snoop_trace", "snoop_spy", "snoop_trace"),
        *("snoop_spy", "snoop_spy"),
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnoopLogError, match="none.json cannot be read: No such file"):
        read_snoop_log(tmp_path / "none.json")
