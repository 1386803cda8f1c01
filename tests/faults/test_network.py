"""The network between nodes and broker fails for long, with the settings of production.

The faults take their time, so they happen at once: each has nodes on a host of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.diaries import Course, Reader
from faults.steady import KEYS, LINKS
from faults.traffic import WARM, Account, record
from support.actor import Actor
from support.charts_at_work import KEY
from support.namespaces import Host, Network, Toll
from support.rabbitmq_server import RabbitServer
from support.secret_files import write_secret
from support.waiting import wait_until

STEADY = Path(__file__).with_name("steady.py")
PER_S = 200
LONG_S = 20.0
LOSS = 0.3
DELAY_S = 0.3
AGAIN_LIMIT_S = 40.0
BROKER = "broker"
FROZEN_BROKER = "frozen-broker"
FROZEN, CUT, LOSSY, LATE = "frozen", "cut", "lossy", "late"
PLAN = {
    name: [f"10.7.0.{number}/24"]
    for number, name in enumerate((BROKER, FROZEN_BROKER, FROZEN, CUT, LOSSY, LATE), 1)
}


@dataclass
class Outcome:
    """What a fault did to the events of the nodes that it hit."""

    account: Account
    seconds: float
    links: str
    toll: Toll


class Pair:
    """A sender and a receiver on one host, and what they wrote down."""

    def __init__(self, host: Host, url: str, folder: Path, stack: ExitStack) -> None:
        self._host = host
        self._files = {role: folder / f"{host.name}-{role}" for role in ("receiver", "sender")}
        self._sent = Reader(self._files["sender"])
        self._handled = Reader(self._files["receiver"])
        self._course = Course()
        for file in self._files.values():
            write_secret(file.with_name(file.name + KEYS), KEY.decode())
        self._times: list[float] = []
        self._start(stack, "receive", url, "receiver", self._files["receiver"])
        sender = ("send", url, "-", "numbers", 0, PER_S, self._files["sender"])
        self._sender = self._start(stack, *sender)
        wait_until(lambda: len(self.course.handled) >= WARM)

    @property
    def course(self) -> Course:
        for entry in self._handled.news():
            self._course.add(entry)
        return self._course

    @property
    def times(self) -> list[float]:
        """When each number was sent."""
        self._times += [entry.when for entry in self._sent.news()]
        return self._times

    def again(self, mended: float) -> float:
        """When the first event that was sent after that time was handled."""
        wait_until(lambda: self.times[-1] >= mended)
        first_after = next(number for number, when in enumerate(self.times) if when >= mended)
        return float(wait_until(lambda: self.course.again(first_after, mended), AGAIN_LIMIT_S))

    def end(self) -> Account:
        """Send no more; what became of everything."""
        self._sender.tell()
        assert self._sender.heard() == {"said": "left 0"}
        sent = range(len(self.times))
        wait_until(lambda: not self.course.missing(sent), message=f"all events of {self._host}")
        return self.course.account(sent)

    def links(self, since: float) -> str:
        """What happened to the links, in seconds since then."""
        lines = []
        for role, file in self._files.items():
            for line in file.with_name(file.name + LINKS).read_text().splitlines():
                when, _, what = line.partition(" ")
                lines.append((float(when) - since, f"{role}'s {what}"))
        return "\n".join(f"{when:8.2f} {what}" for when, what in sorted(lines) if when > 0)

    def _start(self, stack: ExitStack, *arguments: object) -> Actor:
        actor = stack.enter_context(Actor(STEADY, *arguments, place=self._host))
        assert actor.heard() == {"said": "ready"}
        return actor


class Ground:
    """The network, its brokers, and the faults that happen there, all at once."""

    def __init__(self, network: Network, brokers: dict[str, RabbitServer], folder: Path) -> None:
        self._network = network
        self._brokers = brokers
        self._folder = folder
        self._pool = ThreadPoolExecutor(max_workers=len(PLAN))
        self.outcomes = {
            FROZEN: self._happen(FROZEN, FROZEN_BROKER, self._freeze),
            CUT: self._happen(CUT, BROKER, self._cut),
            LOSSY: self._happen(LOSSY, BROKER, self._lose),
            LATE: self._happen(LATE, BROKER, self._delay),
        }

    def close(self) -> None:
        self._pool.shutdown()

    def _happen(self, host: str, broker: str, harm: Callable[[], Toll]) -> Future[Outcome]:
        server = self._brokers[broker]
        return self._pool.submit(self._outcome, host, server.url(server.new_vhost()), harm)

    def _outcome(self, host: str, url: str, harm: Callable[[], Toll]) -> Outcome:
        with ExitStack() as stack:
            pair = Pair(self._network[host], url, self._folder, stack)
            began = time.monotonic()
            toll = harm()
            mended = time.monotonic()
            seconds = pair.again(mended) - mended
            return Outcome(pair.end(), seconds, pair.links(began), toll)

    def _freeze(self) -> Toll:
        with self._brokers[FROZEN_BROKER].frozen():
            for_(LONG_S)
        return Toll()

    def _cut(self) -> Toll:
        self._network.cut(CUT)
        for_(LONG_S)
        self._network.mend(CUT)
        return Toll()

    def _lose(self) -> Toll:
        self._network.worsen(LOSSY, loss=LOSS)
        for_(LONG_S)
        return self._network.clear(LOSSY)

    def _delay(self) -> Toll:
        self._network.worsen(LATE, delay_s=DELAY_S)
        for_(LONG_S)
        return self._network.clear(LATE)


def for_(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


@pytest.fixture(scope="module")
def ground(
    private_networks: None, rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """Everything that the faults of this module happen to; they begin at once."""
    folder = tmp_path_factory.mktemp("network")
    with ExitStack() as stack:
        settings = stack.enter_context(pytest.MonkeyPatch.context())
        settings.setenv("MIROS_MESH_LAN", "off")
        network = stack.enter_context(Network(PLAN))
        brokers = {
            name: network[name].rabbitmq(folder / name, rabbitmq.programs)
            for name in (BROKER, FROZEN_BROKER)
        }
        for server in brokers.values():
            stack.callback(server.close)
        with ThreadPoolExecutor() as starters:
            for started in [starters.submit(server.start) for server in brokers.values()]:
                started.result()
        ground = Ground(network, brokers, folder)
        stack.callback(ground.close)
        yield ground


def survived(fault: str, future: Future[Outcome]) -> Outcome:
    """The outcome of a fault that cost nothing."""
    outcome = future.result()
    print(outcome.links, outcome.toll, sep="\n")
    record(fault, outcome.account, outcome.seconds)
    assert outcome.account.perfect, outcome.account
    return outcome


@pytest.mark.proof
def test_broker_frozen_for_20_s(ground: Ground) -> None:
    survived("broker frozen for 20 s", ground.outcomes[FROZEN])


@pytest.mark.proof
def test_cable_cut_for_20_s(ground: Ground) -> None:
    survived("cable cut for 20 s", ground.outcomes[CUT])


@pytest.mark.proof
def test_30_percent_of_packets_lost_for_20_s(ground: Ground) -> None:
    toll = survived("30 % of packets lost for 20 s", ground.outcomes[LOSSY]).toll
    assert 0.2 < toll.lost / (toll.lost + toll.passed) < 0.4


@pytest.mark.proof
def test_packets_delayed_by_300_ms_for_20_s(ground: Ground) -> None:
    survived("packets delayed by 300 ms each way, 20 s", ground.outcomes[LATE])
