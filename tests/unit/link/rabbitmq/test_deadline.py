"""What cuts a connection: in time, at once when told, and never what was quick enough."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from miros_mesh.link.rabbitmq.deadline import Cutter, Deadline, StepLimit
from support.post_office import LIMIT_S

NAME = "mesh-deadline-test"


def test_a_read_that_takes_too_long_is_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.05, NAME) as deadline:
        deadline.watch(lambda: ours)
        ours.settimeout(LIMIT_S)
        assert ours.recv(1) == b""
        assert deadline.passed


def test_it_can_be_cut_before_its_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(LIMIT_S, NAME) as deadline:
        deadline.watch(lambda: ours)
        deadline.cut()
        ours.settimeout(LIMIT_S)
        assert ours.recv(1) == b""


def test_a_socket_that_comes_late_is_cut_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0, NAME) as deadline:
        sockets = [None, None, ours]
        deadline.watch(lambda: sockets.pop(0) if sockets else ours)
        ours.settimeout(LIMIT_S)
        assert ours.recv(1) == b""


def test_what_ends_in_time_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(LIMIT_S, NAME) as deadline:
            deadline.watch(lambda: ours)
        assert not deadline.passed
        theirs.send(b"x")
        assert ours.recv(1) == b"x"


def test_a_cutter_ends_a_read_and_each_that_follows() -> None:
    cutter = Cutter()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cutter.cut()
        cutter.watch(lambda: ours)
        ours.settimeout(LIMIT_S)
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        cutter.cut()
        assert ours.recv(1) == b""
        assert cutter.passed


def test_a_cutter_ends_a_look_up() -> None:
    cutter, asked, over = Cutter(), threading.Event(), threading.Event()

    def ask() -> None:
        asked.set()
        over.wait(LIMIT_S)

    ends: list[BaseException] = []

    def look_up() -> None:
        try:
            cutter.lookups.result("name", ask, LIMIT_S)
        except TimeoutError as error:
            ends.append(error)

    looking = threading.Thread(target=look_up)
    looking.start()
    assert asked.wait(LIMIT_S)
    cutter.cut()
    looking.join(LIMIT_S)
    over.set()
    assert len(ends) == 1


def test_a_deadline_ends_no_look_up_of_others() -> None:
    shared = Cutter().lookups
    with Deadline(LIMIT_S, NAME, shared) as deadline:
        deadline.cut()
    assert shared.result("name", lambda: "address", LIMIT_S) == "address"


def test_a_cut_leaves_tls_its_state_for_the_thread_that_uses_it() -> None:
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    cutter = Cutter()
    with theirs, context.wrap_socket(ours, do_handshake_on_connect=False) as wrapped:
        cutter.watch(lambda: wrapped)
        cutter.cut()
        wrapped.settimeout(LIMIT_S)
        # An AttributeError would be taken for a fault of the library.
        with pytest.raises(OSError, match="Broken pipe|EOF"):
            wrapped.do_handshake()


def test_a_step_that_takes_too_long_is_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, StepLimit(0.05, NAME) as limit:
        limit.watch(lambda: ours)
        ours.settimeout(LIMIT_S)
        with limit.step():
            assert ours.recv(1) == b""
        assert limit.passed


def test_the_time_between_two_steps_counts_for_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, StepLimit(0.5, NAME) as limit:
        limit.watch(lambda: ours)
        for _ in range(2):
            with limit.step():
                theirs.send(b"x")
                assert ours.recv(1) == b"x"
            threading.Event().wait(0.7)
        assert not limit.passed


def test_one_thread_limits_all_steps_of_a_visit_and_ends_with_it() -> None:
    def named() -> list[int | None]:
        return [thread.ident for thread in threading.enumerate() if thread.name == NAME]

    with StepLimit(LIMIT_S, NAME) as limit:
        before = named()
        for _ in range(3):
            with limit.step():
                assert named() == before
    assert len(before) == 1
    assert not named()
