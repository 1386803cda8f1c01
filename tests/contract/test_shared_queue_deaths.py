"""Processes that consume one queue are killed, one after the other, while it flows."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from contract.sharer import spec
from miros_mesh.address import BrokerAddress
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker
from support.actor import Actor
from support.post_office import LIMIT_S, PostOffice, letter
from support.waiting import wait_until

SCRIPT = Path(__file__).with_name("sharer.py")
TAKEN_OVER_S = 2.0
# Between two deaths.
ROUND = 500


class Line(NamedTuple):
    """What a process has handled."""

    when: float
    number: int
    deliveries: int


class Sharers:
    """Four processes at one queue, and a publisher that numbers what it sends."""

    def __init__(self, place: str, consumers: str, folder: Path, stack: ExitStack) -> None:
        if place.startswith("amqp"):
            address = BrokerAddress.parse(place)
            self._office = PostOffice(amqp_link, Broker(address.redacted, (address,)))
        else:
            self._office = PostOffice(lambda s: embedded_link(s, Path(place)), Broker("embedded"))
        stack.callback(self._office.close)
        self._publisher = self._office.publisher()
        self.name = spec(consumers).name
        self.sent = 0
        self.files = [folder / f"sharer{number}" for number in range(4)]
        self.alive = []
        for file in self.files:
            self.alive.append(stack.enter_context(Actor(SCRIPT, place, consumers, file)))
            # In this order they stand in line.
            assert self.alive[-1].heard() == {"ready": True}

    def send(self, count: int) -> None:
        for _ in range(count):
            self._publisher.put(letter(str(self.sent)))
            self.sent += 1

    def lines(self, *sharers: int) -> list[Line]:
        """What these have handled, or all, in the order of time."""
        files = [self.files[each] for each in sharers] or self.files
        texts = [text for file in files for text in file.read_text().splitlines(keepends=True)]
        # The last line of one that was killed may be half a line.
        return sorted(Line(*json.loads(text)) for text in texts if text.endswith("\n"))

    def all_handled(self) -> bool:
        return len({line.number for line in self.lines()}) == self.sent

    @property
    def left(self) -> int:
        return self._office.size(self.name)


@pytest.fixture(params=["embedded", "rabbitmq"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the queue is: a folder, or the address of a virtual host."""
    if request.param == "embedded":
        return str(tmp_path / "broker")
    return str(request.getfixturevalue("vhost_url"))


def firsts(lines: list[Line]) -> list[int]:
    return list(dict.fromkeys(line.number for line in lines))


def repeated_unmarked(lines: list[Line]) -> list[Line]:
    """What came again and does not say that it may have."""
    known: set[int] = set()
    found = []
    for line in lines:
        if line.number in known and line.deliveries == 1:
            found.append(line)
        known.add(line.number)
    return found


def test_those_in_line_go_on_in_order_when_the_active_one_is_killed(
    place: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        sharers = Sharers(place, "standby", tmp_path, stack)
        for active in range(3):
            sharers.send(ROUND)
            wait_until(lambda active=active: len(sharers.lines(active)) > ROUND // 5)
            killed_at = time.monotonic()
            sharers.alive[active].kill()
            sharers.send(ROUND)
            wait_until(lambda active=active: bool(sharers.lines(active + 1)))
            assert sharers.lines(active + 1)[0].when - killed_at < TAKEN_OVER_S
        wait_until(sharers.all_handled, timeout_s=3 * LIMIT_S)

        lines = sharers.lines()
        assert firsts(lines) == list(range(sharers.sent))
        assert repeated_unmarked(lines) == []
        wait_until(lambda: sharers.left == 0)


def test_what_a_killed_sharer_had_comes_to_the_others(place: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        sharers = Sharers(place, "shared", tmp_path, stack)
        for killed in range(3):
            sharers.send(ROUND)
            wait_until(lambda killed=killed: len(sharers.lines(killed)) > ROUND // 20)
            sharers.alive[killed].kill()
            sharers.send(ROUND)
        wait_until(sharers.all_handled, timeout_s=3 * LIMIT_S)

        lines = sharers.lines()
        assert repeated_unmarked(lines) == []
        # As many as those had at once whom their death found at work, and no more.
        assert len(lines) - sharers.sent <= 3 * spec("shared").prefetch
        wait_until(lambda: sharers.left == 0)
