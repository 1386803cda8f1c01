"""A snoop network is consumed while it has a watcher, whatever overtakes what."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import BrokerUnreachableError, PermissionDeniedError
from miros_mesh.link.ports import Handler, QueueSpec
from miros_mesh.networks.snoop.records import SnoopNetwork
from miros_mesh.node.queues import NodeQueues
from miros_mesh.node.watched_networks import WatchedNetworks
from miros_mesh.observer import Observer
from support.post_office import LIMIT_S
from support.sealed import OURS, trace_network
from support.waiting import wait_until


class Line:
    """A subscriber that has what is asked of it, in order, and answers when it is told to."""

    connected_to = "here"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.queues: set[str] = set()
        self.answer = threading.Event()
        self.answer.set()
        self.refusal: Exception | None = None
        # Guards the line, as that of the real one does.
        self._lock = threading.Lock()

    def add(self, spec: QueueSpec, handler: Handler, timeout_s: float) -> bool:
        with self._lock:
            self.asked.append("add")
        if not self.answer.wait(timeout_s):
            raise BrokerUnreachableError("silent")
        if self.refusal:
            raise self.refusal
        with self._lock:
            assert spec.name not in self.queues, "asked for twice"
            self.queues.add(spec.name)
        return False

    def remove(self, queue: str, wait_s: float = 0.0) -> None:
        with self._lock:
            self.asked.append("remove")
            self.queues.remove(queue)

    def start(self) -> None: ...

    def wait_ready(self, timeout_s: float) -> None: ...

    def refused(self) -> list[tuple[QueueSpec, str]]:
        return []

    def stop(self, timeout_s: float) -> None: ...


class Watched:
    """The watched networks of a node, with one network."""

    def __init__(self, timeout_s: float = LIMIT_S) -> None:
        self.line = Line()
        self.snoop = SnoopNetwork(trace_network(), OURS, "snoop.trace", Observer())
        queues = NodeQueues(MeshConfig(), OURS)
        self.networks = WatchedNetworks(self.line, queues.of_watchers, timeout_s=timeout_s)

    def on(self, owner: str) -> None:
        self.snoop.watch(owner, print)
        self.networks.consume(self.snoop)

    def off(self, owner: str) -> None:
        self.snoop.unwatch(owner)
        self.networks.release(self.snoop)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_queue_comes_with_the_first_watcher_and_goes_with_the_last(watched: Watched) -> None:
    watched.on("one")
    watched.on("other")
    watched.off("one")
    watched.off("one")
    assert watched.line.asked == ["add"]

    watched.off("other")
    watched.off("never there")
    assert watched.line.asked == ["add", "remove"]

    watched.on("one")
    assert watched.line.asked == ["add", "remove", "add"]


def test_a_queue_that_nobody_wants_any_more_when_it_comes_goes_at_once(watched: Watched) -> None:
    # Given a watcher that waits for its queue
    watched.line.answer.clear()
    waiting = beside(lambda: watched.on("one"))
    wait_until(lambda: watched.line.asked)
    # When it goes, which does not wait
    watched.off("one")
    watched.line.answer.set()
    waiting.join(LIMIT_S)
    # Then the queue goes when it is there
    assert watched.line.asked == ["add", "remove"]


def test_a_second_watcher_waits_for_the_queue_and_asks_for_no_other(watched: Watched) -> None:
    watched.line.answer.clear()
    first = beside(lambda: watched.on("one"))
    wait_until(lambda: watched.line.asked)
    second = beside(lambda: watched.on("other"))
    second.join(0.1)
    waited = second.is_alive()
    watched.line.answer.set()
    for each in (first, second):
        each.join(LIMIT_S)

    assert (waited, watched.line.asked) == (True, ["add"])


def test_a_refused_queue_is_asked_for_again_by_the_next_watcher(watched: Watched) -> None:
    watched.line.refusal = PermissionDeniedError("not yours")
    with pytest.raises(PermissionDeniedError):
        watched.on("one")
    watched.off("one")
    watched.line.refusal = None

    watched.on("other")

    assert watched.line.asked == ["add", "add"]
    watched.off("other")
    assert watched.line.queues == set()


def test_who_waits_for_the_queue_of_another_has_the_same_limit() -> None:
    watched = Watched(timeout_s=0.2)
    watched.networks._asked.add("snoop_trace")

    with pytest.raises(BrokerUnreachableError, match=r"queue of snoop_trace within 0\.2 s"):
        watched.on("one")


def test_watchers_of_many_threads_end_in_the_state_of_the_last_calls(watched: Watched) -> None:
    def come_and_go(owner: str, *, stays: bool) -> None:
        for _ in range(500):
            watched.on(owner)
            watched.off(owner)
        if stays:
            watched.on(owner)

    for stays, queues in ((False, 0), (True, 1)):
        threads = [
            threading.Thread(target=come_and_go, args=(f"{n}",), kwargs={"stays": stays and n == 3})
            for n in range(6)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(LIMIT_S)

        assert not any(each.is_alive() for each in threads)
        assert len(watched.line.queues) == queues


def test_a_companion_is_consumed_as_long_as_its_network_is() -> None:
    line, trace = Line(), trace_network()
    ours, theirs = (
        SnoopNetwork(each, OURS, "key", Observer()) for each in (trace, trace_network())
    )
    theirs.network.name = "theirs"
    queues = NodeQueues(MeshConfig(), OURS)
    watched = WatchedNetworks(
        line, queues.of_watchers, timeout_s=LIMIT_S, companions={ours.network.name: theirs}
    )
    for each in (ours, theirs):
        each.watch("one", lambda _: None)
    watched.consume(ours)
    watched.consume(ours)
    assert len(line.queues) == 2

    for each in (ours, theirs):
        each.unwatch("one")
    watched.release(ours)
    assert line.queues == set()
    assert line.asked == ["add", "add", "remove", "remove"]
