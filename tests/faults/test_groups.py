"""Members of a group are killed, frozen and cut off under load, and others go on."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from faults.conftest import settings
from faults.group_member import KEYS
from faults.relay import Relay
from faults.traffic import Account, Stream, record
from miros_mesh.errors import GroupError
from support.actor import Actor
from support.charts_at_work import Ground, Heard, Launch
from support.group_members import TOPIC, Member, join
from support.rabbitmq_server import Place
from support.waiting import wait_until

SCRIPT = Path(__file__).with_name("group_member.py")
TAKEOVER_GOAL_S = 5.0
WARM = 200
# So that frames are in hand when a member ends.
PAUSE_S = 0.0025


class Line(NamedTuple):
    """An event that a member has handled."""

    when: float
    number: int
    marked: bool
    member: int


class Members:
    """Processes of one group, and what they have written, in the order of time."""

    def __init__(self, url: str, kind: str, folder: Path, place: Place | None = None) -> None:
        self._url, self._kind, self._folder, self._place = url, kind, folder, place
        self._stack = ExitStack()
        self._files: list[Path] = []
        self.actors: dict[int, Actor] = {}
        self.killed = 0

    def start(self, pause_s: float = PAUSE_S, url: str = "") -> int:
        """Start one more; its number."""
        number = len(self._files)
        file = self._folder / f"member{number}"
        file.touch()
        self._files.append(file)
        arguments = url or self._url, f"till{number}", self._kind, file, pause_s
        actor = self._stack.enter_context(Actor(SCRIPT, *arguments, place=self._place))
        assert actor.heard() == {"said": "ready"}
        self.actors[number] = actor
        return number

    def kill(self, number: int) -> float:
        """Kill one; when."""
        when = time.monotonic()
        self.actors.pop(number).kill()
        self.killed += 1
        return when

    def stop(self, number: int) -> None:
        """Let one leave in good order."""
        actor = self.actors.pop(number)
        actor.tell()
        assert actor.heard() == {"said": "stopped"}

    def lines(self) -> list[Line]:
        """All that was handled."""
        return sorted(line for number in range(len(self._files)) for line in self.of(number))

    def of(self, number: int) -> list[Line]:
        """What one has handled, in its order."""
        whole, _, _ = self._files[number].read_text().rpartition("\n")
        lines = (line.split() for line in whole.splitlines())
        return [Line(float(a), int(b), c == "1", number) for a, b, c in lines]

    def first_after(self, when: float, *, without: int = -1) -> float:
        """Wait until another one than that handles an event after that time; when that was."""

        def first() -> float | None:
            lines = self.lines()
            return next((e.when for e in lines if e.when > when and e.member != without), None)

        return float(wait_until(first, 60))

    def accounted(self, fault: str, sent: range, seconds: float | None = None) -> Account:
        """Wait until all is handled; count what was lost, and what came twice without a mark."""
        wanted = set(sent)
        wait_until(lambda: wanted <= {each.number for each in self.lines()}, 60)
        first: dict[int, Line] = {}
        unmarked = 0
        for line in self.lines():
            before = first.setdefault(line.number, line)
            # A member that was frozen goes on with what another one has had meanwhile, marked.
            unmarked += before is not line and not (line.marked or before.marked)
        account = Account(len(sent), len(wanted - set(first)), unmarked, self._out_of_order(first))
        repeats = len(self.lines()) - len(first)
        where = "" if self._url else "embedded, "
        record(f"{where}{self._kind}: {fault}; {repeats} repeats", account, seconds)
        return account

    def _out_of_order(self, first: dict[int, Line]) -> int:
        """How often a first handling was out of order, in what is to be in order."""
        if self._kind == "share":
            return 0
        lines: dict[int, list[int]] = defaultdict(list)
        for number in first:
            lines[number % KEYS if self._kind == "partition_by" else 0].append(number)
        return sum(b < a for numbers in lines.values() for a, b in pairwise(numbers))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(params=["rabbitmq", "embedded"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the broker is; empty for the embedded one."""
    return str(request.getfixturevalue("vhost_url")) if request.param == "rabbitmq" else ""


# The embedded broker does not notice a process that is frozen, and has no network to be cut.
of_rabbitmq = pytest.mark.parametrize("url", ["rabbitmq"], indirect=True)


@pytest.fixture
def group(url: str, tmp_path: Path) -> Iterator[Callable[[str], Members]]:
    """Members of a group of a kind, which end with the test."""
    with ExitStack() as ending:

        def make(kind: str) -> Members:
            members = Members(url, kind, tmp_path)
            ending.callback(members.close)
            return members

        yield make


@pytest.fixture
def shop(url: str, launch: Launch) -> Iterator[Callable[[], Stream]]:
    """Begin a stream of numbered events that the group hears: a group that was never there keeps
    nothing."""
    topics = {"tx_routing_key": TOPIC, "rx_routing_key": "none"}
    sender = launch("shop", settings(url or None), Heard(), **topics)
    with ExitStack() as ending:
        yield lambda: ending.enter_context(Stream(sender))


def warm(members: Members, amount: int = WARM) -> None:
    """Wait until so many events are handled."""
    wait_until(lambda: len({each.number for each in members.lines()}) >= amount, 60)


@pytest.mark.parametrize("kind", ["standby", "share", "partition_by"])
def test_member_killed(
    kind: str, group: Callable[[str], Members], shop: Callable[[], Stream]
) -> None:
    members = group(kind)
    first = members.start()
    members.start()
    stream = shop()
    warm(members)

    killed = members.kill(first)

    seconds = members.first_after(killed, without=first) - killed
    warm(members, 3 * WARM)
    account = members.accounted("member killed", stream.end(), seconds)
    assert account.perfect, account
    assert seconds < TAKEOVER_GOAL_S


@of_rabbitmq
@pytest.mark.parametrize("kind", ["standby", "share", "partition_by"])
def test_member_frozen_and_awake_again(
    kind: str, group: Callable[[str], Members], shop: Callable[[], Stream]
) -> None:
    members = group(kind)
    first = members.start()
    members.start()
    stream = shop()
    warm(members)

    frozen = time.monotonic()
    members.actors[first].signal(signal.SIGSTOP)
    # In standby another one has to take over; sharing, the frozen one has something that it may not
    # keep. Both are known by what comes again.
    seconds = wait_until(
        lambda: next(
            (e.when for e in members.lines() if e.when > frozen and e.member != first and e.marked),
            None,
        ),
        60,
    )
    members.actors[first].signal(signal.SIGCONT)

    warm(members, 5 * WARM)
    account = members.accounted("member frozen", stream.end(), seconds - frozen)
    assert account.lost == account.duplicated == 0, account
    assert seconds - frozen < TAKEOVER_GOAL_S


@of_rabbitmq
@pytest.mark.parametrize(
    "kind", ["standby", "share", pytest.param("partition_by", marks=pytest.mark.proof)]
)
def test_member_cut_off(
    kind: str,
    group: Callable[[str], Members],
    shop: Callable[[], Stream],
    relayed_url: str,
    relay: Relay,
) -> None:
    members = group(kind)
    first = members.start(url=relayed_url)
    members.start()
    stream = shop()
    warm(members)

    cut = time.monotonic()
    relay.black_hole()
    seconds = members.first_after(cut + 0.2, without=first) - cut
    wait_until(
        lambda: any(e.when > cut and e.member != first and e.marked for e in members.lines()), 60
    )
    took = time.monotonic() - cut
    relay.resume()

    warm(members, 5 * WARM)
    account = members.accounted("member cut off", stream.end(), seconds)
    assert account.lost == account.duplicated == 0, account
    assert took < TAKEOVER_GOAL_S


@of_rabbitmq
@pytest.mark.parametrize("kind", ["share", pytest.param("partition_by", marks=pytest.mark.proof)])
def test_scaled_out_and_in_while_members_are_killed(
    kind: str, group: Callable[[str], Members], shop: Callable[[], Stream]
) -> None:
    turns(group(kind), shop, 3)


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["standby", "share", "partition_by"])
def test_scaled_out_and_in_many_times(
    kind: str, group: Callable[[str], Members], shop: Callable[[], Stream]
) -> None:
    turns(group(kind), shop, 15)


def turns(members: Members, shop: Callable[[], Stream], times: int) -> None:
    """Let one member come, one leave and one be killed, again and again; nothing may be lost."""
    running = [members.start(), members.start()]
    stream = shop()
    takeovers = []
    for turn in range(1, times + 1):
        warm(members, turn * WARM)
        running.append(members.start())
        members.stop(running.pop(0))
        running.append(members.start())
        killed = members.kill(victim := running.pop(0))
        takeovers.append(members.first_after(killed, without=victim) - killed)
    account = members.accounted(
        f"{members.killed} killed, as many left", stream.end(), max(takeovers)
    )
    assert account.perfect, account
    assert max(takeovers) < TAKEOVER_GOAL_S


def test_member_that_disagrees_after_its_connection_was_lost_is_deaf(
    vhost_url: str, relayed_url: str, relay: Relay, launch: Launch
) -> None:
    # Given a member whose connection is lost, and another one that is there then
    def ground(url: str) -> Ground:
        return Ground(lambda **more: settings(url, **more))

    away, there = Member(), Member()
    chart = join(launch, ground(relayed_url), "till1", away, "standby")
    with pytest.raises(GroupError):
        join(launch, ground(vhost_url), "till2", there)
    relay.refuse()
    late = wait_until(lambda: _joined(launch, ground(vhost_url), there), 20)

    # When it is connected again
    relay.resume()

    # Then it hears nothing, and its health says why
    deaf = wait_until(lambda: chart.health().deaf_charts, 20)
    assert deaf == {"payment": "other_terms"}
    assert not chart.health().consuming

    # Until the other one has gone
    late.stop()
    wait_until(lambda: chart.health().consuming, 20)
    assert chart.health().deaf_charts == {}


def _joined(launch: Launch, ground: Ground, member: Member) -> object:
    try:
        return join(launch, ground, "till2", member)
    except GroupError:
        # The broker has not seen yet that the other connection is gone.
        return None
