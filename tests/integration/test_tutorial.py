"""The tutorial, block by block, on two machines with the files and the services of a Debian.

Two things are not as on real hosts: everybody is root, so that `sudo` runs what it is given; and
`scp` is a copy into the home folder of the other host, since no ssh server runs there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import machine
from support.doc_pages import ROOT, block
from support.machine import Machine
from support.namespaces import Network
from support.terminal import Terminal

# Two minutes, for `make proof`.
pytestmark = [pytest.mark.timeout(900), pytest.mark.proof]

PAGE = ROOT / "docs" / "tutorial.md"
HOSTS = {"red": ["10.7.0.1/24"], "blue": ["10.7.0.2/24"]}
# They fetch packages, and the tests' machines have no way out: RabbitMQ, openssl and the library
# are there.
NOT_RUN = ("apt-get install", "pip install")
BLOCK = re.compile(
    r'^```sh title="(?P<hosts>[^"]+)"\n(?P<script>.*?)^```$', re.MULTILINE | re.DOTALL
)
TRACE = re.compile(r"^ \[\+t\] \[[^]]+\] \[(\w+)\] (e->.*)$", re.MULTILINE)
SCP = """#!/bin/sh -e
for last; do :; done
[ "$1" = -p ] && [ "$last" = blue:mesh/ ]
while [ $# -gt 2 ]; do cp -p "$2" {blue}/mesh/; shift; done
"""


@dataclass(frozen=True)
class Pasted:
    """A block, and what it printed on a host."""

    host: str
    script: str
    printed: str


def blocks() -> Iterator[tuple[list[str], str]]:
    """Hosts and text of each block that is run."""
    for found in BLOCK.finditer(PAGE.read_text()):
        if not any(words in found["script"] for words in NOT_RUN):
            yield found["hosts"].split(" and "), found["script"]


@pytest.fixture(scope="module")
def pasted(
    private_networks: None,
    systemd_services: None,
    rabbitmq_programs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Pasted]:
    """All blocks in their order, and what they printed."""
    if reason := machine.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("tutorial")
    homes, programs = folder / "homes", folder / "programs"
    homes.mkdir()
    programs.mkdir()
    (programs / "scp").write_text(SCP.format(blue=homes / "blue"))
    (programs / "scp").chmod(0o755)
    with ExitStack() as stack:
        network = stack.enter_context(Network(HOSTS))
        terminals = {}
        for name in HOSTS:
            host = Machine(network[name], folder / name, [homes, programs], systemd=name == "red")
            stack.enter_context(host)
            terminals[name] = Terminal(host, homes / name, programs)
            stack.callback(terminals[name].close)
        return [
            Pasted(host, script, terminals[host].paste(script))
            for hosts, script in blocks()
            for host in hosts
        ]


def test_every_block_of_the_tutorial_does_its_work(pasted: list[Pasted]) -> None:
    checks = [each.printed for each in pasted if each.script.endswith("miros-mesh check\n")]
    assert len(checks) == len(HOSTS)
    for said in checks:
        assert "a shared broker: amqps://mesh@red:5671/mesh" in said
        assert "an event went out, sealed and confirmed, and came back" in said


def test_three_doors_on_two_hosts_open_before_and_after_the_change_of_the_key(
    pasted: list[Pasted],
) -> None:
    seen = [TRACE.findall(each.printed) for each in pasted if "miros-mesh snoop" in each.script]
    assert len(seen) == 2
    for steps in seen:
        opened = {door for door, step in steps if step == "e->knock() closed->opened"}
        assert opened == {"front", "side", "back"}


def test_the_key_was_changed_and_no_event_was_refused(pasted: list[Pasted]) -> None:
    first, *_, last = [each.printed for each in pasted if "miros-mesh keys" in each.script]
    (new,) = set(re.findall(r"also opens (\w+)", first))
    assert set(re.findall(r"^  (?:red|blue): uses (\w+)$", last, re.MULTILINE)) == {new}
    assert "also opens" not in last
    assert "there are no dead letters" in last


def test_the_trace_that_the_page_shows_is_what_doors_do(pasted: list[Pasted]) -> None:
    shown = TRACE.findall(block(PAGE, "text", "[+t]"))
    seen = TRACE.findall("".join(each.printed for each in pasted))
    assert {door for door, _ in shown} == {"front", "side", "back"}
    assert set(shown) <= set(seen)


def test_few_blocks_of_the_tutorial_are_not_run() -> None:
    text = PAGE.read_text()
    assert len(BLOCK.findall(text)) - len(list(blocks())) == len(NOT_RUN)
    assert text.count("```sh") == len(BLOCK.findall(text))
