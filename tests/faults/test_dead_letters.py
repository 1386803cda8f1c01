"""Dead letters over a link that breaks: nothing is lost, nothing hangs, nothing comes twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from faults.relay import DOWN, UP, Relay
from faults.traffic import TABLE, Account, Row
from miros_mesh import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.errors import LinkError
from support.charts_at_work import KEY, Heard, Launch
from support.dead_letters import keep, refused, waiting
from support.waiting import wait_until

LETTERS = 30


@pytest.fixture
def direct(vhost_url: str) -> MeshConfig:
    """The settings of nodes, past the relay."""
    return MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)


@pytest.fixture
def box(relayed_url: str) -> Iterator[DeadLetters]:
    """Dead letters through the relay, of an operator without patience."""
    config = MeshConfig(broker_url=relayed_url, mesh_encryption_key=KEY, confirm_timeout_s=1.0)
    with DeadLetters(config) as letters:
        yield letters


@pytest.mark.parametrize("holes", [(UP,), (DOWN,)], ids=lambda holes: holes[0])
def test_a_broker_that_falls_silent_ends_the_look_and_no_letter(
    holes: tuple[str, ...], direct: MeshConfig, box: DeadLetters, relay: Relay
) -> None:
    keep(direct, *(refused("knock", n, number=n) for n in range(1, LETTERS + 1)))
    outcomes = box.drop_all(signal="knock")
    next(outcomes)

    relay.black_hole(*holes)
    with pytest.raises(LinkError, match="does not answer in time"):
        list(outcomes)
    relay.resume()
    relay.cut()

    # The one that was told as removed is gone. The one that was acknowledged while nothing came
    # through is there or gone; every other is there.
    wait_until(lambda: waiting(direct) >= LETTERS - 2)
    assert waiting(direct) < LETTERS


def test_a_link_that_breaks_again_and_again_amid_a_retry_loses_and_doubles_nothing(
    direct: MeshConfig, box: DeadLetters, relay: Relay, launch: Launch
) -> None:
    # Given a chart that is there, and letters of it
    heard = Heard()
    launch("door", direct.overridden(node_name="house"), heard)
    keep(direct, *(refused("knock", n, number=n) for n in range(1, LETTERS + 1)))
    over, broke = threading.Event(), list[LinkError]()

    def harm() -> None:
        while not over.wait(0.05):
            relay.cut()

    harmer = threading.Thread(target=harm)
    harmer.start()
    # When the operator tries until the link has broken many times
    try:
        for _ in range(20):
            try:
                for outcome in box.retry_all():
                    assert outcome.error is None
            except LinkError as error:
                broke.append(error)
    finally:
        over.set()
        harmer.join()
    assert all(error.retryable for error in broke)
    # And once more when it holds; the broker may find out late that a connection is gone
    wait_until(lambda: not list(box.retry_all()) and waiting(direct) == 0, 30)

    # Then each event was handled once, those that were sent twice as well
    wait_until(lambda: len(heard) >= LETTERS)
    account = Account.of(range(1, LETTERS + 1), heard.payloads)
    TABLE.append(Row("dead letters put back over a link that breaks", account, None))
    assert (account.lost, account.duplicated) == (0, 0)
