"""`make bench ARGS=discovery` measures what it says; how much that is, is for a quiet machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lan.hosts import Lan

sys.path.append(str(Path(__file__).parents[2] / "bench"))
import discovery


@pytest.mark.proof
def test_it_measures_cold_and_warm_starts(lan: Lan, tmp_path: Path) -> None:
    (cold,), (warm,) = discovery.on_a_slash_24(lan, tmp_path / "24", runs=1)

    assert cold.search > 0
    assert warm.search == 0
    assert 0 < warm.first <= warm.everywhere
    assert 0 < cold.first <= cold.everywhere
    assert cold.with_interpreter > cold.first


def test_a_missed_goal_is_said() -> None:
    figures = [
        discovery.Figure("slow", [3.0, 1.0, 2.5], 2.0),
        discovery.Figure("quick", [1.0], 2.0),
    ]
    slow, quick, ancestor = discovery.table(figures).splitlines()[1:]
    assert " ".join(slow.split()) == "slow 2.50 s 1.00 to 3.00 s < 2 s, missed"
    assert quick.endswith("< 2 s")
    assert ancestor.split()[-2:] == ["7.00", "s"]
