"""A topic to which no chart listens is told to an operator."""

from __future__ import annotations

import pytest

from miros_mesh.node.no_listeners import NoListeners


def test_the_nearest_topic_is_proposed_and_each_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watching = NoListeners(lambda: ["plant.nroth", "plant.north", "plant.south.valve.#"])

    for topic in ("plant.nroth", "plant.nroth", "elsewhere"):
        watching.unroutable(peer="broker", topic=topic, events=3)

    near, far = caplog.messages
    assert near.startswith("no chart listens to plant.nroth at broker: 3 event(s)")
    assert near.endswith("did you mean plant.north?")
    assert "elsewhere" in far
    assert "did you mean" not in far
