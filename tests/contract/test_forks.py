"""A process that forks at work: what it opened stays its own, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from actor import Actor

SCRIPT = Path(__file__).with_name("forking.py")


@pytest.mark.parametrize("how", ["exits", "stops", "multiprocessing"])
@pytest.mark.parametrize("broker", ["embedded", "rabbitmq"])
def test_a_fork_costs_the_parent_nothing(
    broker: str, how: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    where = tmp_path / "mesh" if broker == "embedded" else request.getfixturevalue("vhost_url")

    with Actor(SCRIPT, where, how) as process:
        heard = process.heard()

    assert heard == {
        "status": 0,
        "last": "after 99",
        "copies": 0,
        "ups": 1,
        "downs": [],
        "subscriptions": 1,
        "left": 0,
    }
