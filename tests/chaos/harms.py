"""The faults that happen to a mesh. Each mends what it did, also when the run is interrupted."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chaos.members import Receiver
from chaos.mesh import Harm, Harmed, Mesh
from miros_mesh.networks.network import exchange_of
from support.rabbitmq_server import erlang_string

LONGEST_S = 20.0
SHORTEST_S = 2.0


def stop_broker(mesh: Mesh) -> None:
    mesh.server.stop()
    mesh.server.start()


def kill_broker(mesh: Mesh) -> None:
    mesh.server.kill()
    mesh.server.start()


def freeze_broker(mesh: Mesh) -> None:
    with mesh.server.frozen():
        _last(mesh)


def cut_cable(mesh: Mesh) -> None:
    host = _somewhere(mesh)
    mesh.network.cut(host)
    try:
        _last(mesh)
    finally:
        mesh.network.mend(host)


def lose_packets(mesh: Mesh) -> None:
    _worsen(mesh, loss=mesh.random.uniform(0.05, 0.3))


def delay_packets(mesh: Mesh) -> None:
    _worsen(mesh, delay_s=mesh.random.uniform(0.05, 0.3))


def close_connections(mesh: Mesh) -> Harmed:
    every = "Connection <- rabbit_networking:connections()"
    return _done(mesh, f'[rabbit_networking:close_connection(Connection, "chaos") || {every}]')


def raise_memory_alarm(mesh: Mesh) -> None:
    with mesh.server.memory_alarm():
        _last(mesh)


def delete_queue(mesh: Mesh) -> Harmed:
    prefix = exchange_of("mesh")
    names = mesh.server.rabbitmqctl("list_queues", "-p", mesh.vhost, "name").split()
    queue = mesh.random.choice(sorted(name for name in names if name.startswith(prefix)))
    mesh.doing += f" {queue}"
    found = f"{{ok, Queue}} = rabbit_amqqueue:lookup({_resource(mesh, 'queue', queue)})"
    return _done(mesh, f"{found}, {{ok, _}} = rabbit_amqqueue:delete(Queue, false, false, <<>>)")


def delete_exchange(mesh: Mesh) -> Harmed:
    exchange = _resource(mesh, "exchange", exchange_of("mesh"))
    return _done(mesh, f"ok = rabbit_exchange:delete({exchange}, false, <<>>)")


def kill_receiver(mesh: Mesh) -> Harmed:
    receiver = _named_receiver(mesh)
    receiver.kill()
    receiver.start()
    return Harmed(ended=receiver)


def restart_receiver(mesh: Mesh) -> Harmed:
    receiver = _named_receiver(mesh)
    receiver.stop()
    receiver.start()
    return Harmed(ended=receiver)


def restart_sender(mesh: Mesh) -> None:
    sender = mesh.random.choice(mesh.senders)
    sender.stop()
    sender.start()


HARMS: Mapping[str, Harm] = {
    "broker stopped and started": stop_broker,
    "broker killed and started": kill_broker,
    "broker frozen": freeze_broker,
    "cable cut": cut_cable,
    "packets lost": lose_packets,
    "packets delayed": delay_packets,
    "connections closed by administrator": close_connections,
    "memory alarm": raise_memory_alarm,
    "queue deleted": delete_queue,
    "exchange deleted": delete_exchange,
    "receiver killed and started": kill_receiver,
    "receiver stopped and started": restart_receiver,
    "sender stopped and started": restart_sender,
}


def _done(mesh: Mesh, expression: str) -> Harmed:
    """Let the broker do it; a deletion is over at once, and long before the command returns."""
    done_us = mesh.server.eval(f"begin {expression}, os:system_time(microsecond) end")
    return Harmed(mended=time.monotonic() - (time.time() - int(done_us) / 1e6))


def _resource(mesh: Mesh, kind: str, name: str) -> str:
    return f"rabbit_misc:r({erlang_string(mesh.vhost)}, {kind}, {erlang_string(name)})"


def _named_receiver(mesh: Mesh) -> Receiver:
    return mesh.random.choice([receiver for receiver in mesh.receivers if receiver.named])


def _worsen(mesh: Mesh, *, loss: float = 0.0, delay_s: float = 0.0) -> None:
    host = _somewhere(mesh)
    mesh.network.worsen(host, loss=loss, delay_s=delay_s)
    try:
        _last(mesh)
    finally:
        mesh.network.clear(host)


def _somewhere(mesh: Mesh) -> str:
    host = mesh.random.choice(mesh.hosts)
    mesh.doing += f" at {host}"
    return host


def _last(mesh: Mesh) -> None:
    seconds = mesh.random.uniform(SHORTEST_S, LONGEST_S)
    mesh.doing += f" for {seconds:.1f} s"
    mesh.for_(seconds)
