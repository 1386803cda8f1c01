"""A worker's life: connecting, serving, reconnecting, stopping."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import kombu
import pytest
import tenacity

from miros_mesh.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    LinkError,
    PermissionDeniedError,
)
from miros_mesh.link import retry, worker
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.ports import Broker
from miros_mesh.link.worker import Worker
from miros_mesh.observer import Observer
from miros_mesh.timing.throttle import Throttle
from support.memory_connection import memory_connection
from support.post_office import LIMIT_S
from support.waiting import wait_until


class Unreached(Observer):
    """Notes the reasons of attempts that failed, and the death of its thread."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.died: list[str] = []

    def unreached(self, *, peer: str, reason: str) -> None:
        assert peer == "memory"
        self.reasons.append(reason)

    def thread_died(self, *, thread: str, peer: str, error: BaseException) -> None:
        assert peer == "memory"
        self.died.append(thread)


class Clerk(Worker):
    """Notes what its worker tells it, and does in a turn what it is handed."""

    def __init__(self, *, failures: int = 0, attempts: int | None = 1) -> None:
        self.failures = failures
        self.refusals = 0
        pools = ConnectionPools(self._dial)
        self.notes = Unreached()
        super().__init__(
            name="mesh-clerk",
            broker=Broker("memory"),
            pools=pools,
            attempts=attempts,
            observer=self.notes,
        )
        self.opened = 0
        self.turns = 0
        self.losses: list[LinkError | None] = []
        self.job: Callable[[], object] = lambda: None
        self.done = threading.Event()
        self.done.set()

    def do(self, job: Callable[[], object]) -> None:
        """Have something done once, in the next turn."""
        self.job = job
        self.wake()

    def stop(self, timeout_s: float = LIMIT_S) -> None:
        self._end(timeout_s)

    def _dial(self, _: object) -> kombu.Connection:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError(111, "refused")
        return memory_connection()

    def _opened(self, connection: kombu.Connection) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PermissionDeniedError("memory refuses an exchange")
        self.opened += 1

    def _turn(self, connection: kombu.Connection) -> bool:
        self.turns += 1
        job, self.job = self.job, lambda: None
        job()
        return False

    def _lost(self, error: LinkError | None) -> None:
        self.losses.append(error)

    def _finished(self) -> bool:
        return self.done.is_set()


@pytest.fixture
def clerk() -> Iterator[Clerk]:
    made = Clerk()
    made.start()
    made.wait_ready(LIMIT_S)
    yield made
    made.done.set()
    made.stop()


def fail(error: Exception) -> None:
    raise error


def threads_of_clerks() -> int:
    return sum(thread.name == "mesh-clerk" for thread in threading.enumerate())


def test_it_connects_once_serves_and_ends_when_told(clerk: Clerk) -> None:
    clerk.start()
    assert threads_of_clerks() == 1

    clerk.stop()

    assert not clerk.alive
    assert clerk.opened == 1
    assert clerk.losses == [None]


def test_a_wake_gives_it_a_turn(clerk: Clerk) -> None:
    for _ in range(3):
        turned = threading.Event()
        clerk.do(turned.set)
        # Without the wake the second turn would be a second away.
        assert turned.wait(0.7)


def test_a_wake_that_was_broken_off_takes_no_other_its_effect(clerk: Clerk) -> None:
    # A handler of a signal that raises may leave it like this: marked as sent, and never sent.
    clerk._woken = True

    wait_until(lambda: not clerk._woken)


def test_a_worker_with_work_left_is_served_until_it_is_done(clerk: Clerk) -> None:
    clerk.done.clear()
    clerk.stop(timeout_s=0)
    before = clerk.turns
    wait_until(lambda: clerk.turns > before + 3)

    clerk.done.set()
    clerk.stop()

    assert not clerk.alive


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (ConnectionResetError(104, "reset"), "the connection to memory broke"),
        (AttributeError("of py-amqp"), "unexpected AttributeError"),
    ],
)
def test_whatever_breaks_a_turn_it_connects_again(
    clerk: Clerk, error: Exception, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    clerk.do(lambda: fail(error))
    wait_until(lambda: clerk.opened == 2)

    (lost,) = clerk.losses
    assert isinstance(lost, ConnectionLostError)
    assert loss in str(lost)
    assert ("mesh-clerk reconnects: unexpected error" in caplog.text) == ("unexpected" in loss)


def test_a_broker_that_has_dropped_thousands_of_connections_is_left_alone_for_two_seconds() -> None:
    clerk = Clerk()
    clerk._since = time.monotonic()

    pauses = [clerk._pause() for _ in range(2_000)]
    clerk.stop()

    assert pauses[:7] == [0, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert set(pauses[7:]) == {2.0}


def test_an_error_that_ends_its_thread_is_told(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clerk, "_lost", lambda _: fail(ZeroDivisionError("by a bug")))
    clerk.do(lambda: fail(ConnectionResetError(104, "reset")))

    wait_until(lambda: not clerk.alive)

    assert clerk.notes.died == ["mesh-clerk"]
    assert "mesh-clerk ended: unexpected error" in caplog.text


def test_what_it_does_itself_may_stop_it(clerk: Clerk) -> None:
    clerk.do(clerk.stop)

    wait_until(lambda: not clerk.alive)
    assert clerk.losses == [None]


def test_a_first_connection_that_fails_is_told_and_ends_it() -> None:
    clerk = Clerk(failures=1)
    clerk.start()

    with pytest.raises(BrokerUnreachableError, match="does the broker run"):
        clerk.wait_ready(LIMIT_S)

    wait_until(lambda: not clerk.alive)
    clerk.stop()
    assert clerk.losses == []


def test_each_attempt_of_a_patient_worker_that_fails_is_told_and_the_first_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clerk = Clerk(failures=2, attempts=None)
    clerk.start()

    clerk.wait_ready(LIMIT_S)
    clerk.stop()

    assert clerk.opened == 1
    assert clerk.notes.reasons == ["unreachable"] * 2
    [line] = caplog.messages
    assert line == (
        "mesh-clerk cannot connect, and keeps trying: no answer from memory ([Errno 111] refused); "
        "does the broker run, and is the port right?"
    )


@pytest.mark.parametrize(("quiet_s", "lines"), [(60.0, 0), (0.0, 1)], ids=["short", "long"])
def test_first_attempts_are_logged_if_they_take_long_since_their_end_is_raised(
    quiet_s: float, lines: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_COMPLAIN_EVERY_S", quiet_s)
    clerk = Clerk(failures=2, attempts=2)
    clerk.start()

    with pytest.raises(BrokerUnreachableError):
        clerk.wait_ready(LIMIT_S)
    clerk.stop()

    # The second one is not made again, and is raised.
    assert clerk.notes.reasons == ["unreachable"]
    assert len(caplog.messages) == lines


def test_a_reconnect_that_fails_is_told_with_what_failed_since(
    clerk: Clerk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker for which every third attempt is to be logged
    moments = itertools.count()
    monkeypatch.setattr(clerk, "_failures", Throttle(3.0, clock=lambda: float(next(moments))))
    monkeypatch.setattr(retry, "_LATER", tenacity.wait_none())

    # When its connection breaks, and four more are refused
    clerk.refusals = 4
    clerk.do(lambda: fail(ConnectionResetError(104, "reset")))
    wait_until(lambda: clerk.opened == 2)

    # Then all are told, and two lines name them
    assert clerk.notes.reasons == ["permission"] * 4
    first, second = [text.split(":")[0] for text in caplog.messages if "cannot connect" in text]
    assert first == "mesh-clerk cannot connect, and keeps trying"
    assert second == f"{first} (3 attempts since the last line)"


def test_each_outage_is_told_anew(
    clerk: Clerk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_LATER", tenacity.wait_none())
    for outage in (1, 2):
        clerk.refusals = 1
        clerk.do(lambda: fail(ConnectionResetError(104, "reset")))
        wait_until(lambda outage=outage: clerk.opened == outage + 1)

    assert sum("cannot connect" in text for text in caplog.messages) == 2


def test_an_error_outside_of_a_connection_ends_it_and_is_logged(
    clerk: Clerk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk, "_lost", lambda _: fail(ValueError("a bug")))
    clerk.do(lambda: fail(ConnectionResetError(104, "reset")))

    wait_until(lambda: not clerk.alive)
    assert "mesh-clerk ended: unexpected error; please report it" in caplog.text


def test_stop_before_start_leaves_nothing() -> None:
    clerk = Clerk()

    clerk.stop()

    assert not clerk.alive
    clerk.wake()


def test_who_was_stopped_before_it_began_connects_no_more() -> None:
    clerk = Clerk(attempts=None)
    clerk.stop()

    clerk.start()

    with pytest.raises(BrokerUnreachableError, match="it was stopped meanwhile"):
        clerk.wait_ready(LIMIT_S)
    wait_until(lambda: not clerk.alive)
    assert (clerk.opened, clerk.notes.reasons) == (0, [])


def test_no_attempt_follows_a_stop() -> None:
    # Given a worker that a hook stops after its first attempt
    clerk = Clerk(failures=1_000, attempts=None)
    clerk.notes.unreached = lambda **_: clerk.stop()  # type: ignore[method-assign]
    clerk.start()

    wait_until(lambda: not clerk.alive)

    assert clerk.failures == 999
