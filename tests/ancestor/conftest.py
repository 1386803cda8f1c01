"""Hosts for the tests of a mesh of miros-rabbitmq and of this library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ancestor import hosts as ancestor_hosts
from ancestor.hosts import ADDRESSES, Hosts, Keys, Kind, Program

Start = Callable[..., Program]
STARTS_S = 30.0
TRIES = 4


@pytest.fixture(scope="package")
def hosts(
    private_networks: None, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosts]:
    """Four hosts with a RabbitMQ each; where there is no ancestor, as with RabbitMQ."""
    if reason := ancestor_hosts.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with Hosts(tmp_path_factory.mktemp("ancestor"), rabbitmq_programs) as hosts:
        yield hosts


@pytest.fixture
def start(hosts: Hosts, tmp_path: Path) -> Iterator[Start]:
    """Start a program of either library on a host; its hosts file lists all four, unless told."""
    keys = Keys()
    with ExitStack() as stack:

        def begin(
            host: str,
            kind: Kind,
            listed: tuple[str, ...] = tuple(ADDRESSES),
            *,
            scouts: bool = False,
            **variables: str,
        ) -> Program:
            place = hosts.network[host]
            # Its charts ask each other before all of them listen: now and then no answer comes, and
            # it waits for ever.
            for _ in range(TRIES if kind == "old" else 1):
                program = Program(place, kind, keys, tmp_path, listed, variables, scouts=scouts)
                stack.callback(program.kill)
                if kind == "new" or program.starts_within(STARTS_S):
                    return program
                program.kill()
            pytest.fail(f"miros-rabbitmq on {host} does not start")

        yield begin
