"""What is put while nothing is in its way is published by who puts it, and nothing else changes."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.embedded.schema import DATABASE_FILE
from miros_mesh.link import worker
from miros_mesh.link.kombu_link import embedded_link
from miros_mesh.link.ports import Broker
from miros_mesh.link.publisher import BrokerPublisher
from miros_mesh.testing.memory import memory_link
from support.interrupts import broken_off
from support.post_office import LIMIT_S, Letter, Notebook, PostOffice, letter, queue
from support.waiting import wait_until

SENDERS = 4
EACH = 150
# Less than a locked store is waited for by who may wait.
AT_ONCE_S = 5.0


@dataclass(eq=False)
class Watched(Letter):
    """A letter that says which thread has sealed it, and does something meanwhile."""

    sealed_by: int = 0
    meanwhile: Callable[[], object] = field(default=lambda: None)

    def seal(self) -> bytes:
        if not self.sealed_by:
            self.sealed_by = threading.get_ident()
            self.meanwhile()
        return super().seal()

    @property
    def at_once(self) -> bool:
        return self.sealed_by == threading.get_ident()


def put_at_once(
    publisher: BrokerPublisher, text: str, meanwhile: Callable[[], object] = lambda: None
) -> list[str]:
    """Put letters, one when the last is confirmed, until one is published by this thread.

    The texts of all; the last is the one, and only for that is something done meanwhile.
    """
    here = threading.get_ident()
    sent: list[str] = []

    def only_here() -> None:
        if threading.get_ident() == here:
            meanwhile()

    def tried() -> bool:
        one = Watched(f"{text} {len(sent)}".encode(), meanwhile=only_here)
        sent.append(one.body.decode())
        publisher.put(one)
        wait_until(lambda: one.stores)
        return one.at_once

    wait_until(tried)
    return sent


class Served:
    """A listener, and publishers that are asked for."""

    def __init__(self, office: PostOffice) -> None:
        self.office = office
        _, self.mailbox = office.listen(queue())

    def publisher(self, **settings: Any) -> BrokerPublisher:
        return self.office.publisher(**settings)


@pytest.fixture
def served(office: PostOffice) -> Served:
    """A publisher at a broker that may be published to at once, and a listener."""
    if office.broker.name == "memory":
        pytest.skip("in the memory of one process nothing is published at once")
    return Served(office)


def test_what_is_put_while_nothing_waits_is_published_by_who_puts_it(served: Served) -> None:
    sent = put_at_once(served.publisher(), "letter")
    assert served.mailbox.expect(len(sent)) == sent


def test_what_is_too_large_once_it_is_sealed_is_sealed_by_the_worker_alone(served: Served) -> None:
    class Sealed(Watched):
        seals = 0

        def seal(self) -> bytes:
            self.seals += 1
            return super().seal() + bytes(300)

    publisher = served.publisher()
    put_at_once(publisher, "letter")
    for _ in range(5):
        large = Sealed(b"large".ljust(3_900))
        publisher.put(large)
        wait_until(lambda large=large: large.stores)
        assert large.seals == 1


def test_what_waits_for_a_disk_or_other_threads_is_left_to_the_worker(tmp_path: Path) -> None:
    store = MemoryStore()
    for make_link in (
        lambda settings: memory_link(settings, store),
        lambda settings: embedded_link(settings, tmp_path / "broker", "power"),
    ):
        with closing(PostOffice(make_link, Broker("here"))) as office:
            publisher, letters = office.publisher(), [Watched(b"1"), Watched(b"2")]
            for each in letters:
                publisher.put(each)
                wait_until(lambda each=each: each.stores)
            assert [each.at_once for each in letters] == [False, False]


def test_senders_that_put_at_the_same_time_keep_their_order(served: Served) -> None:
    publisher = served.publisher()

    def send(name: int) -> None:
        for number in range(EACH):
            one = letter(f"{name} {number}")
            publisher.put(one)
            # So that some find nothing in their way.
            if number % 5 == name:
                wait_until(lambda one=one: one.stores)

    threads = [threading.Thread(target=send, args=(name,)) for name in range(SENDERS)]
    for thread in threads:
        thread.start()
    came = served.mailbox.expect(SENDERS * EACH, 60)
    for thread in threads:
        thread.join(LIMIT_S)
    for name in range(SENDERS):
        of_one = [text for text in came if text.startswith(f"{name} ")]
        assert of_one == [f"{name} {number}" for number in range(EACH)]


def test_what_is_put_within_a_publication_follows_it(served: Served) -> None:
    publisher = served.publisher()
    sent = put_at_once(publisher, "outer", lambda: publisher.put(letter("inner")))
    assert served.mailbox.expect(len(sent) + 1) == [*sent, "inner"]


def test_a_signal_whose_handler_puts_a_letter_holds_up_nothing(served: Served) -> None:
    publisher = served.publisher()
    before = signal.signal(signal.SIGUSR1, lambda *_: publisher.put(letter("inner")))
    try:
        sent = put_at_once(publisher, "outer", lambda: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert served.mailbox.expect(len(sent) + 1) == [*sent, "inner"]


def test_a_hook_that_puts_a_letter_holds_up_nothing(served: Served) -> None:
    class Answering(Notebook):
        def published(self, **facts: Any) -> None:
            super().published(**facts)
            if self.published_events <= 20:
                publisher.put(letter(f"answer {self.published_events}"))

    publisher = served.publisher(observer=Answering())
    publisher.put(letter("first"))
    assert served.mailbox.expect(21) == ["first", *(f"answer {n}" for n in range(1, 21))]


def test_what_interrupts_a_publication_loses_nothing_and_changes_no_order(served: Served) -> None:
    publisher = served.publisher()
    interrupts = iter([KeyboardInterrupt])

    def interrupt() -> None:
        for each in interrupts:
            raise each

    with pytest.raises(KeyboardInterrupt):
        put_at_once(publisher, "letter", interrupt)
    publisher.put(letter("last"))

    came = served.mailbox.expect_until("last")
    assert came == [f"letter {n}" for n in range(len(came))]
    assert publisher.stop(LIMIT_S).left_over == 0


def test_a_signal_that_interrupts_a_publication_anywhere_leaves_its_connection_to_the_worker(
    served: Served,
) -> None:
    publisher, sent, number = served.publisher(), list[str](), 1
    code = BrokerPublisher._publish_at_once.__code__
    while True:
        one = Watched(f"letter {len(sent)}".encode())
        sent.append(one.body.decode())
        interrupted = broken_off(lambda one=one: publisher.put(one), code, number)
        wait_until(lambda one=one: one.stores)
        if interrupted:
            number += 1
        elif one.at_once:
            # It has no more moments than that.
            break

    assert number > 3
    publisher.put(letter("last"))
    # What was published before the interrupt may come again.
    came = served.mailbox.expect_until("last")
    assert list(dict.fromkeys(came)) == sent


def test_what_the_socket_did_not_take_is_written_at_once_by_the_worker(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but a wake gives it a turn, nor does a heartbeat of the server.
    monkeypatch.setattr(worker, "TICK_S", 3600.0)
    publisher = served.publisher(heartbeat_interval_s=60.0)
    transport = getattr(_transport(publisher), "transport", None)
    if transport is None:
        pytest.skip("an embedded broker takes all or nothing")
    sent = put_at_once(publisher, "letter", lambda: setattr(transport, "sock", Full(transport)))
    assert served.mailbox.expect(len(sent)) == sent


def test_the_connection_is_looked_at_by_none_but_who_has_it(served: Served) -> None:
    publisher = served.publisher()
    transport = getattr(_transport(publisher), "transport", None)
    if transport is None:
        pytest.skip("an embedded broker is not looked at")
    transport.sock = looked_at = Full(transport)
    looked_at.publisher = publisher
    put_at_once(publisher, "letter")
    wait_until(lambda: len(looked_at.looks) > 10 or publisher.put(letter("more")))
    assert all(looked_at.looks)


def test_a_connection_that_breaks_is_told_to_no_sender(served: Served) -> None:
    notes = Notebook()
    publisher = served.publisher(observer=notes)
    if (sock := getattr(_transport(publisher), "sock", None)) is None:
        pytest.skip("an embedded broker has no connection that breaks")
    sent = put_at_once(publisher, "letter", lambda: sock.shutdown(socket.SHUT_RDWR))
    publisher.put(letter("last"))

    # What the broker had before it broke may come again, and is known as that by its number.
    came = served.mailbox.expect_until("last")
    assert list(dict.fromkeys(came)) == sent
    wait_until(lambda: notes.ups == 2)


def test_a_store_that_is_locked_is_not_waited_for(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "broker" / DATABASE_FILE
    if not file.exists():
        pytest.skip("only the embedded broker has a file")
    publisher = served.publisher()
    sent = put_at_once(publisher, "letter")
    with locked(file):
        sender = threading.Thread(target=publisher.put, args=(letter("last"),))
        sender.start()
        sender.join(AT_ONCE_S)
        assert not sender.is_alive()
    assert served.mailbox.expect(len(sent) + 1) == [*sent, "last"]


def test_a_child_publishes_nothing_on_what_is_its_parents(served: Served) -> None:
    link = served.office.link()
    publisher = link.publisher(served.office.broker)
    publisher.start()
    publisher.wait_ready(LIMIT_S)
    sent = put_at_once(publisher, "parent")

    child = os.fork()
    if not child:
        # As a node does in a child; nothing of pytest may run there.
        link.abandon()
        publisher.put(letter("child"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    sent += put_at_once(publisher, "later")

    assert served.mailbox.expect(len(sent)) == sent
    publisher.stop(LIMIT_S)
    link.close()


def test_what_is_put_after_a_stop_is_left_over(served: Served) -> None:
    publisher = served.publisher()
    sent = put_at_once(publisher, "letter")
    assert publisher.stop(LIMIT_S).left_over == 0

    late = Watched(b"late")
    publisher.put(late)

    assert not late.sealed_by
    assert publisher.report().left_over == 1
    assert served.mailbox.expect(len(sent)) == sent


class Full:
    """A socket that takes ten bytes of what is sent without a wait, and says who looks at it."""

    def __init__(self, transport: Any) -> None:
        self._sock = transport.sock
        self.publisher: BrokerPublisher | None = None
        self.looks: list[bool] = []
        """Whether the connection was somebody's, each time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        return int(self._sock.send(data[:10]))

    def pending(self) -> int:
        if self.publisher:
            self.looks.append(self.publisher._using.locked())
        return 0


def _transport(publisher: BrokerPublisher) -> Any:
    connection = publisher._connection
    assert connection is not None
    return connection.connection


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a writer, as another process does."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
