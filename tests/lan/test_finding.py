"""Nodes on three hosts find each other, whatever network these are on."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from lan.hosts import (
    LIMIT_S,
    SITE_22,
    SLASH_24,
    A,
    B,
    C,
    Program,
    Street,
    all_hear_each_other,
    hear,
)
from lan.resident import ANCESTOR, TIMER
from support.waiting import wait_until

END = "time.sleep(20)"
# A host that starts alone hears no other until all are found; and timers that fire at once collide.
SOON = "random.uniform(1, 4)"
TRACE = re.compile(r"\[\x1b\[(?P<color>\d+)m(?P<name>\w{5}_[af]o)\x1b\[0m\] e->(?P<signal>\w+)\(\)")
OWN, OTHER = "94", "95"
IGNORE_PINGS = "/proc/sys/net/ipv4/icmp_echo_ignore_all"


@pytest.mark.parametrize("network", SLASH_24)
def test_a_cold_start_finds_all_and_every_chart_hears_every_other(
    street: Street, network: str
) -> None:
    street.renumber(SLASH_24[network])

    nodes = street.start(A, B, C)

    street.meet(*nodes)
    all_hear_each_other(nodes)


def test_a_cold_start_finds_the_far_ends_of_a_slash_22(street: Street) -> None:
    """A kernel has room for 1,024 neighbours, and asks 3 s for each that does not answer."""
    # Given two hosts at the far ends of a /22 that know each other; only one kernel serves all of
    # the hosts here, and three searches at once would take the room of one from each other
    street.renumber(SITE_22)
    street.list_hosts(B, street.address(C))
    street.list_hosts(C, street.address(B))
    far = street.start(B, C, discovery="manual")

    # When a third one searches 1,022 addresses
    near = street.start(A)[0]

    # Then it finds both, who have not searched, and they it
    street.meet(near, *far)
    all_hear_each_other([near, *far])
    assert near.verdicts() == {address: {"ours"} for address in street.addresses(B, C)}


def test_the_ancestors_programs_hear_each_other_from_host_to_host(street: Street) -> None:
    scripts = {A: "active_object.py", B: "factory.py", C: "active_object.py"}
    with ExitStack() as running:

        def run(host: str, script: str) -> Ancestor:
            text = ANCESTOR.with_name(script).read_text()
            assert TIMER in text
            assert END in text
            text = text.replace(TIMER, SOON).replace(END, "sys.stdin.readline()")
            home = str(street.cache(host).with_suffix(""))
            program = street.program(host, "-c", f"import sys\n{text}", MIROS_MESH_HOME=home)
            running.enter_context(program)
            running.callback(program.ended)
            return Ancestor(host, program)

        programs = [run(host, script) for host, script in scripts.items()]
        names = {program.name for program in programs}
        for program in programs:
            others = names - {program.name}
            wait_until(lambda: program.driven, LIMIT_S, message=f"{program.host} is driven")  # noqa: B023
            wait_until(lambda: others <= program.seen(OTHER), LIMIT_S, message=program.host)  # noqa: B023


class Ancestor:
    """What one of the ancestor's programs shows of its own chart and of the others."""

    def __init__(self, host: str, program: Program) -> None:
        self.host = host
        self._program = program

    @property
    def name(self) -> str:
        """Its chart's own name."""
        own: set[str] = wait_until(lambda: self.seen(OWN), LIMIT_S, message=f"{self.host} starts")
        return own.pop()

    @property
    def driven(self) -> bool:
        """Whether an event of another program moved its chart."""
        return any(
            found["color"] == OWN and found["signal"].startswith("other_")
            for found in self._found()
        )

    def seen(self, color: str) -> set[str]:
        """The names of the charts whose traces it has shown in a colour."""
        return {found["name"] for found in self._found() if found["color"] == color}

    def _found(self) -> list[re.Match[str]]:
        return [found for line in list(self._program.lines) if (found := TRACE.search(line))]


def test_a_host_that_ignores_pings_is_found(street: Street) -> None:
    namespace = street.lan.network[B]
    namespace.run("sh", "-c", f"echo 1 > {IGNORE_PINGS}")
    try:
        nodes = street.start(A, B)
        street.meet(*nodes)
        all_hear_each_other(nodes)
        assert namespace.run("cat", IGNORE_PINGS) == "1\n"
    finally:
        namespace.run("sh", "-c", f"echo 0 > {IGNORE_PINGS}")


def test_a_host_that_joins_later_is_found_as_an_alien_and_answers(street: Street) -> None:
    # Given two hosts that have searched, and found only each other
    first, second = street.start(A, B)
    street.meet(first, second)
    for node in (first, second):
        node.wait_for("searched", source="lan")

    # When a third one joins and speaks to them
    third = street.start(C)[0]
    street.meet(third, first, second)

    # Then each has heard it, looked where it says that it lives, and answers
    for node in (first, second):
        node.wait_for("alien", outcome="adopted")
        assert "ours" in node.verdicts()[street.address(C)]
        assert len(node.facts("searched", source="lan")) == 1
        hear(node, [third], f"answer_of_{node.host}")


def test_two_nodes_in_one_process_do_not_hear_each_others_discovery(street: Street) -> None:
    # Given a process with a node that searches the network, and one that has no host to look for
    there = street.start(B)[0]
    searching = street.begin(A).wait_started()
    quiet = street.begin(
        A, discovery="manual", alien_policy="ignore", discovery_hosts_file="/missing"
    ).wait_started()

    # When the first has found a host, and both have looked more than once
    street.meet(searching, there)
    wait_until(lambda: len(quiet.facts("searched")) > 1, LIMIT_S)

    # Then the other one has looked at nothing, found no host, and read no cache
    assert {fact["source"] for fact in quiet.facts("searched")} == {"manual"}
    assert quiet.verdicts() == {}
    assert quiet.peers() == {}
    assert not quiet.facts("cache_read")
