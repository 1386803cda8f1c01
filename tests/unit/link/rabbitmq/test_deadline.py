"""A deadline: it cuts in time, at once when told, and never what was quick enough."""

from __future__ import annotations

import socket

from miros_mesh.link.rabbitmq.deadline import Deadline
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
