"""A process of the mesh ends and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import kombu
import pytest

from faults.conftest import PATIENT, Others, settings
from faults.traffic import EVERY_S, Account, Handled, Stream, accounted
from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.queues import chart_queue
from support.actor import Actor
from support.charts_at_work import Heard, Launch
from support.kept_letters import kept_letters
from support.waiting import wait_until

ROLES = Path(__file__).parent / "roles.py"
QUEUE = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
FEW = 200
MANY = 5_000


class Written:
    """The numbers that receivers have written to a file, over all their lives."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()

    @property
    def numbers(self) -> list[int]:
        whole, _, _ = self.file.read_text().rpartition("\n")
        return [int(line) for line in whole.split()]

    def expect(self, number: int) -> None:
        """Wait for a number or a later one."""
        wait_until(lambda: max(self.numbers, default=-1) >= number, 120, message=f"number {number}")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "handled")


@contextmanager
def listening(url: str, written: Written) -> Iterator[Actor]:
    """A receiver in a process of its own."""
    with Actor(ROLES, "receive", url, "receiver", written.file) as receiver:
        assert receiver.heard() == {"said": "ready"}
        yield receiver


def test_sender_restarted(vhost_url: str, launch: Launch) -> None:
    handled = Handled()
    launch("receiver", settings(vhost_url, **PATIENT), handled)
    for first in (0, FEW):
        with Actor(ROLES, "send", vhost_url, "sender", first, first + FEW) as sender:
            assert sender.heard() == {"said": "left 0"}
    account = accounted("sender restarted", range(2 * FEW), handled)
    assert account.perfect, account


def after(fault: str, written: Written, stream: Stream, vhost_url: str) -> Account:
    """Start the receiver again and account for everything."""
    with listening(vhost_url, written):
        ready, first_after = time.monotonic(), stream.next
        written.expect(first_after)
        seconds = time.monotonic() - ready
        return accounted(fault, stream.end(), written, seconds)


def test_receiver_restarted_under_its_name(
    vhost_url: str, launch: Launch, written: Written
) -> None:
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    with listening(vhost_url, written) as first, Stream(sender) as stream:
        written.expect(FEW)
        first.tell()
        assert first.heard() == {"said": "stopped"}
        account = after("receiver restarted", written, stream, vhost_url)
    # A chart that stops finishes the frames that it has begun
    assert account.perfect, account


def test_receiver_restarted_under_its_name_amid_a_burst(
    vhost_url: str, launch: Launch, written: Written
) -> None:
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    with listening(vhost_url, written) as first, Stream(sender, every_s=0.0001) as stream:
        written.expect(MANY)
        first.tell()
        assert first.heard() == {"said": "stopped"}
        account = after("receiver restarted amid a burst", written, stream, vhost_url)
    assert account.perfect, account


def test_receiver_killed_and_started_under_its_name(
    vhost_url: str, launch: Launch, written: Written
) -> None:
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    with listening(vhost_url, written) as first, Stream(sender) as stream:
        written.expect(FEW)
        first.kill()
        account = after("receiver killed", written, stream, vhost_url)
    assert (account.lost, account.out_of_order) == (0, 0)
    # One death would be enough, but a process that is killed has not died of an event.
    assert kept_letters(settings(vhost_url)) == []


@pytest.mark.parametrize("every_s", [EVERY_S, pytest.param(0.0005, marks=pytest.mark.proof)])
def test_poison_event_under_a_node_name(
    every_s: float, vhost_url: str, launch: Launch, written: Written, others: Others
) -> None:
    """The process is gone, without another word, as soon as its chart has died."""
    times, fault = MeshConfig().max_deliveries, "poison event under a node name"
    beside = settings(vhost_url, **PATIENT)
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    mortal = partial(Actor, ROLES, "die", vhost_url, "receiver", written.file, FEW)
    with ExitStack() as sending:
        sending.enter_context(others(fault, beside, beside))
        for life in range(times):
            with mortal() as receiver:
                assert receiver.heard() == {"said": "ready"}
                if life == 0:
                    stream = sending.enter_context(Stream(sender, every_s=every_s))
                receiver.lines_until_end()
        with mortal() as receiver:
            assert receiver.heard() == {"said": "ready"}
            ready, first_after = time.monotonic(), stream.next
            written.expect(first_after)
            seconds = time.monotonic() - ready
            sent = [number for number in stream.end() if number != FEW]
            account = accounted(fault, sent, written, seconds)
            receiver.tell()
            assert receiver.heard() == {"said": "stopped"}
    assert account.perfect, account
    assert FEW not in written.numbers
    (letter,) = kept_letters(settings(vhost_url))
    assert (letter.reason, letter.deliveries, letter.detail) == ("poison", times, "ValueError")


def test_receiver_killed_amid_a_burst(vhost_url: str, launch: Launch, written: Written) -> None:
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    with listening(vhost_url, written) as first, Stream(sender, every_s=0.0001) as stream:
        written.expect(MANY)
        first.kill()
        account = after("receiver killed amid a burst", written, stream, vhost_url)
    assert (account.lost, account.out_of_order) == (0, 0)


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_receiver_whose_queue_has_other_arguments(
    end: str, vhost_url: str, launch: Launch, written: Written, others: Others
) -> None:
    """As another release declared it: events wait in it, and the first process ends amid them."""
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    old = kombu.Queue(
        QUEUE,
        exchange=kombu.Exchange(exchange_of("mesh"), type="topic", durable=True),
        routing_key=DEFAULT_ROUTING_KEY,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": 1_000_000,
            "x-expires": 3_000_000,
            "x-dead-letter-exchange": "miros_mesh.v1.dead_letters",
        },
    )
    with kombu.Connection(vhost_url) as connection:
        old(connection.channel()).declare()
    fault = f"queue arguments changed, receiver {end}"
    beside = settings(vhost_url, **PATIENT)
    with others(fault, beside, beside), Stream(sender, every_s=0.0005) as stream:
        wait_until(lambda: stream.next >= 5 * FEW, 30)
        with listening(vhost_url, written) as first:
            written.expect(FEW)
            if end == "killed":
                first.kill()
            else:
                first.tell()
                assert first.heard() == {"said": "stopped"}
        account = after(fault, written, stream, vhost_url)
    assert (account.lost, account.out_of_order) == (0, 0)
    assert end == "killed" or account.perfect, account
