"""The private network for tests is one, and is gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Host, Network, NetworkError
from support.rabbitmq_server import RabbitServer, find_programs
from support.waiting import wait_until

PLAN = {"left": ["10.7.0.1/22", "fd07::1/64"], "right": ["10.7.3.2/22", "fd07::2/64"]}
ELSEWHERE = {"elsewhere": ["192.168.7.1/24"]}
SPEAK = """
import socket
with socket.create_server(("", 7777), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        client.sendall(client.recv(10))
        client.close()
"""
LISTEN = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection((sys.argv[1], 7777), timeout=float(sys.argv[2])) as client:
    client.sendall(b"word")
    assert client.recv(10) == b"word"
print(time.monotonic() - began)
"""
ASK = """
import kombu, sys
with kombu.Connection(sys.argv[1], connect_timeout=5) as connection:
    connection.ensure_connection(max_retries=1)
    print(connection.info()["hostname"])
"""


@pytest.fixture(scope="module")
def network(private_networks: None) -> Iterator[Network]:
    with Network({**PLAN, **ELSEWHERE}) as network:
        yield network


@pytest.fixture
def speaker(network: Network) -> Iterator[Host]:
    """A host on which somebody answers."""
    left = network["left"]
    with subprocess.Popen(
        left.command(sys.executable, "-c", SPEAK), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield left
        process.kill()


def heard(listener: Host, address: str, limit_s: float = 5.0) -> float | None:
    """How long a word and its answer took; None when there was no answer."""
    try:
        return float(listener.run(sys.executable, "-c", LISTEN, address, str(limit_s)))
    except NetworkError:
        return None


@pytest.mark.parametrize("address", ["left", "10.7.0.1", "fd07::1"])
def test_hosts_hear_each_other(network: Network, speaker: Host, address: str) -> None:
    assert heard(network["right"], address) is not None


def test_a_host_of_another_subnet_hears_nobody(network: Network, speaker: Host) -> None:
    assert heard(network["elsewhere"], "10.7.0.1", 1) is None


@pytest.mark.parametrize("host", [*PLAN, *ELSEWHERE])
def test_no_way_leads_out(network: Network, host: str) -> None:
    assert "default" not in network[host].run("ip", "route")
    assert "default" not in network[host].run("ip", "-6", "route")
    links = network[host].run("ip", "-brief", "link").split("\n")
    assert sorted(line.split("@")[0].split()[0] for line in links if line) == ["lan0", "lo"]


def test_a_cable_is_cut_and_mended(network: Network, speaker: Host) -> None:
    network.cut("right")
    assert heard(network["right"], "left", 1) is None
    network.mend("right")
    assert heard(network["right"], "left") is not None


def test_a_bad_cable_delays_each_way(network: Network, speaker: Host) -> None:
    network.worsen("right", delay_s=0.1)
    # There and back to connect, there and back to speak.
    took = heard(network["right"], "left")
    assert took is not None
    assert took >= 0.4
    assert network.clear("right").lost == 0
    again = heard(network["right"], "left")
    assert again is not None
    assert again < took


def test_a_bad_cable_loses_what_it_is_told_to(network: Network, speaker: Host) -> None:
    network.worsen("right", loss=1.0)
    assert heard(network["right"], "left", 1) is None
    toll = network.clear("right")
    assert toll.passed == 0
    assert toll.lost > 0


def test_nobody_can_ask_the_machines_name_server(network: Network) -> None:
    look_up = "import socket; socket.getaddrinfo('nobody.example', 1)"
    with pytest.raises(NetworkError, match="not known"):
        network["left"].run(sys.executable, "-c", look_up)


def test_a_rabbitmq_on_a_host_answers_the_others(
    rabbitmq: RabbitServer, network: Network, tmp_path: Path
) -> None:
    programs = find_programs()
    assert programs
    server = network["left"].rabbitmq(tmp_path / "node", programs)
    try:
        server.start()
        vhost = server.new_vhost()
        said = network["right"].run(sys.executable, "-c", ASK, server.url(vhost))
        assert said.strip() == "10.7.0.1"
    finally:
        server.close()


def test_nothing_is_left(private_networks: None) -> None:
    with Network(PLAN) as network:
        places = [Path(f"/proc/{host.pid}") for host in network.hosts.values()]
        assert all(place.exists() for place in places)
    wait_until(lambda: not any(place.exists() for place in places))
