"""A cluster of RabbitMQ servers for tests, each on a host of its own in a private network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from support.namespaces import Host
from support.rabbitmq_server import RabbitServer, erlang_string
from support.waiting import wait_until

COOKIE = "OFTHETESTSALONE"
JOIN_LIMIT_S = 120.0
# By its default a server needs a minute and more to find out that another one was cut off.
TICK_S = 8
# A server that is with fewer than half of the others stops its work, as most operators have it.
_SETTINGS = f"cluster_partition_handling = pause_minority\nnet_ticktime = {TICK_S}\n"


class ClusterServer(RabbitServer):
    """A server that others reach for the talk within the cluster, under its address as name."""

    _names = "-name"

    def __init__(self, folder: Path, programs: Path, host: Host, settings: str = "") -> None:
        self._spoken_at = host.host
        super().__init__(folder, programs, settings, place=host)
        self._node = node_name(host)
        cookie = folder / "home" / ".erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)

    @property
    def name(self) -> str:
        """The name of the server in its cluster."""
        return self._node

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "RABBITMQ_USE_LONGNAME": "true"}


class Cluster:
    """Servers that form one cluster when they start; each can be stopped and started by itself."""

    def __init__(
        self, folder: Path, programs: Path, hosts: Sequence[Host], settings: str = ""
    ) -> None:
        found = "cluster_formation.peer_discovery_backend = classic_config\n"
        for number, host in enumerate(hosts, 1):
            found += f"cluster_formation.classic_config.nodes.{number} = {node_name(host)}\n"
        self.servers = [
            ClusterServer(folder / host.name, programs, host, f"{_SETTINGS}{found}{settings}")
            for host in hosts
        ]

    def start(self) -> None:
        """Start all of them, and return when each knows that the others run."""
        with ThreadPoolExecutor() as starters:
            for started in [starters.submit(each.start) for each in self.servers]:
                started.result()
        self.await_whole()

    def await_whole(self) -> None:
        """Return when every server knows that all of them run."""
        for server in self.servers:
            wait_until(
                partial(self._knows_all, server),
                JOIN_LIMIT_S,
                message=f"{server.name} knows that all of the cluster run",
            )

    def _knows_all(self, server: ClusterServer) -> bool:
        return int(server.eval("length(rabbit_nodes:all_running())")) == len(self.servers)

    def close(self) -> None:
        """End all of them."""
        with ThreadPoolExecutor() as enders:
            for ended in [enders.submit(each.close) for each in self.servers]:
                ended.result()

    def urls(self, vhost: str = "/", first: int = 0) -> str:
        """The URLs of all servers, split by commas, in a circle from one of them on."""
        circle = [*self.servers[first:], *self.servers[:first]]
        return ",".join(server.url(vhost) for server in circle)

    def lead(self, vhost: str, of: str, server: ClusterServer) -> None:
        """Let a server lead the quorum queues whose names hold `of`."""
        queues = f"rabbit_amqqueue:list({erlang_string(vhost)})"
        wanted = f"amqqueue:get_type(Q) =:= rabbit_quorum_queue, re:run(N, {erlang_string(of)})"
        move = f"rabbit_quorum_queue:transfer_leadership(Q, '{server.name}')"
        names = f"{{resource, _, _, N}} <- [amqqueue:get_name(Q)], {wanted} =/= nomatch"
        self._running.eval(f"[{move} || Q <- {queues}, {names}]")
        leaders = f"[element(2, amqqueue:get_pid(Q)) || Q <- {queues}, {names}]"
        wait_until(
            lambda: set(re.findall("'(.*?)'", self._running.eval(leaders))) == {server.name},
            message=f"{server.name} leads",
        )

    @property
    def _running(self) -> ClusterServer:
        return next(server for server in self.servers if server.running)


def node_name(host: Host) -> str:
    """The name of a host's server in the cluster."""
    return f"rabbit@{host.host}"
