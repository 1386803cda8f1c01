"""A process that forks while its charts are at work."""

from __future__ import annotations

from pathlib import Path

import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject
from support.actor import Actor
from support.charts_at_work import KEY, Launch, Recorder, event
from support.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "forking.py"


@pytest.fixture(params=["embedded", "rabbitmq"])
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MeshConfig:
    """The settings of this process; those of the program come from the environment."""
    recorder = Recorder()
    # A busy machine takes its time
    monkeypatch.setenv("MIROS_MESH_DRAIN_TIMEOUT_S", "20")
    if request.param == "embedded":
        return MeshConfig(observers=(recorder,))
    url = request.getfixturevalue("vhost_url")
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, observers=(recorder,))


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_child_is_told_so_can_make_charts_and_leaves_the_parents_alone(
    how: str, config: MeshConfig, launch: Launch
) -> None:
    # Given a chart that answers
    def answer(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "question":
            chart.transmit(event("answer", e.payload))

    (recorder,) = config.observers
    assert isinstance(recorder, Recorder)
    launch("answerer", config, answer)
    with Actor(PROGRAM, how) as program:
        # When a program forks with a chart at work
        child = program.heard()
        # Then the child is refused every call on that chart, and one of its own works
        assert child["missing"] == []
        assert child["asked"]
        assert child["published"]
        # And the parent's goes on as if nothing had happened
        parent = program.heard()
        assert parent == {"child": 0, "before": True, "again": True, "report": True}
        assert program.wait(20) == 0
    wait_until(lambda: sorted(set(recorder.goodbyes)) == ["inherited", "own"], 20)
    assert recorder.goodbyes.count("inherited") == 1
    assert recorder.drops == []
