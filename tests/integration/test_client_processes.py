"""Clients whose process ends, as it should and otherwise."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from miros_mesh import MeshClient, MeshConfig, Message
from support.actor import Actor
from support.charts_at_work import KEY
from support.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "client_script.py"
LIMIT_S = 30.0


@pytest.fixture(params=["embedded", "rabbitmq"])
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MeshConfig:
    """The settings of this process; those of the program come from the environment."""
    if request.param == "embedded":
        return MeshConfig(node_name="here")
    url = request.getfixturevalue("vhost_url")
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    monkeypatch.setenv("MIROS_MESH_HEARTBEAT_INTERVAL_S", "1")
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, node_name="here")


def ready(script: Actor) -> Actor | None:
    """The script when it has started; None when it could not."""
    try:
        return script if script.heard() else None
    except AssertionError:
        return None


def test_what_a_script_sent_arrives_though_it_ends_without_a_close(config: MeshConfig) -> None:
    with MeshClient(config) as client, client.events("talk", timeout_s=LIMIT_S) as events:
        with Actor(PROGRAM, "sends") as script:
            assert script.wait(LIMIT_S) == 0
        assert [next(events).payload for _ in range(100)] == list(range(100))


def test_a_stream_that_is_read_at_the_end_of_a_program_does_not_keep_it(
    config: MeshConfig,
) -> None:
    with MeshClient(config) as client, Actor(PROGRAM, "holds") as script:
        assert script.heard() == {"said": "ready"}
        client.send(Message("said", 0), routing_key="talk")
        assert script.heard()["payload"] == 0
        script.signal(2)
        assert script.wait(LIMIT_S) != 0


def test_a_process_that_is_killed_gets_again_what_it_had_not_handled(config: MeshConfig) -> None:
    with MeshClient(config) as client:
        with Actor(PROGRAM, "holds") as first:
            assert first.heard() == {"said": "ready"}
            for number in range(3):
                client.send(Message("said", number), routing_key="talk")
            assert first.heard() == {"payload": 0, "redelivered": False}
            first.tell()
            assert first.heard() == {"payload": 1, "redelivered": False}
            first.kill()

        # A broker may know a moment later that the name is free, and a start ends with that.
        with ExitStack() as running:
            second = wait_until(
                lambda: ready(running.enter_context(Actor(PROGRAM, "holds"))), LIMIT_S
            )
            heard = [second.heard()]
            while heard[-1]["payload"] < 2:
                second.tell()
                heard.append(second.heard())

    # The frame that was not done as a whole; it may have held the first event, too.
    payloads = [each["payload"] for each in heard]
    assert payloads in ([1, 2], [0, 1, 2])
    assert all(each["redelivered"] for each in heard if each["payload"] == 1)
