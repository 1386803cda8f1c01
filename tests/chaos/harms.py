"""The faults that happen to a mesh. Each mends what it did, also when the run is interrupted."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chaos.members import Receiver
from chaos.mesh import Harm, Harmed, Mesh
from chaos.rotations import follow_late, rotate
from faults.steady import LARGE, POISON
from miros_mesh import MeshConfig
from miros_mesh.networks.network import exchange_of
from support.rabbitmq_server import erlang_string

LONGEST_S = 20.0
SHORTEST_S = 2.0
DAY_S = 86_400.0
ALL_OTHERS = f"^(?!{exchange_of('mesh')}$)"
NOTHING = "^$"
STRANGER = "stranger"
# The dead letters of a sender have room for a thousand.
REFUSED = 100
LETTER_LIMIT_S = 60.0
CLOSE = (
    '[rabbit_networking:close_connection(Connection, "chaos") '
    "|| Connection <- rabbit_networking:connections()]"
)


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
    return _done(mesh, CLOSE)


def raise_memory_alarm(mesh: Mesh) -> None:
    with mesh.server.memory_alarm():
        _last(mesh)


def delete_queue(mesh: Mesh) -> Harmed:
    return _done(mesh, _deleted(mesh, _some_queue(mesh)))


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


def change_queue_arguments(mesh: Mesh) -> Harmed:
    receiver = _named_receiver(mesh)
    receiver.queue_expires_s = DAY_S + mesh.random.randrange(1_000)
    mesh.random.choice([receiver.stop, receiver.kill])()
    receiver.start()
    return Harmed(ended=receiver)


def poison_receiver(mesh: Mesh) -> Harmed:
    receiver, before = _named_receiver(mesh), _letters(mesh)
    mesh.random.choice(mesh.senders).tell(f"{POISON} {receiver.name}")
    receiver.die(MeshConfig().max_deliveries)
    mended = time.monotonic()
    mesh.until(lambda: _letters(mesh) > before, LETTER_LIMIT_S, "the poison event is set aside")
    return Harmed(mended, aside=_letters(mesh) - before)


def send_too_large(mesh: Mesh) -> Harmed:
    sender = mesh.random.choice(mesh.senders)
    sender.tell(LARGE)
    mesh.until(lambda: bool(sender.refused(LARGE)), LETTER_LIMIT_S, "it is set aside")
    return Harmed(aside=len(sender.refused(LARGE)))


def revoke_exchange(mesh: Mesh) -> Harmed:
    return _revoke_writing(mesh, mesh.user.may(write=ALL_OTHERS), mesh.user.may())


def revoke_topic(mesh: Mesh) -> Harmed:
    taken = mesh.user.may_write_under(exchange_of("mesh"), NOTHING)
    return _revoke_writing(mesh, taken, mesh.user.may_write_everywhere())


def revoke_reading(mesh: Mesh) -> Harmed:
    _done(mesh, f"{mesh.user.may(read=NOTHING)}, {CLOSE}")
    try:
        _last(mesh)
    finally:
        given = _done(mesh, mesh.user.may())
    return given


def change_password(mesh: Mesh) -> Harmed | None:
    changed = f"{mesh.user.new_password()}, {CLOSE}"
    if mesh.random.random() < 0.5:
        mesh.doing += ", its file first"
        mesh.user.write()
        return _done(mesh, changed)
    mesh.doing += ", its file later"
    _done(mesh, changed)
    try:
        _last(mesh)
    finally:
        mesh.user.write()
    return None


def limit_connections(mesh: Mesh) -> Harmed:
    return _limit(mesh, "max-connections", "rabbit_networking:connections()")


def limit_channels(mesh: Mesh) -> Harmed:
    return _limit(mesh, "max-channels", "rabbit_channel:list()")


def take_place_of_queue(mesh: Mesh) -> Harmed:
    """Let a stranger have it, where the broker allows no more."""
    vhost, stranger = erlang_string(mesh.vhost), _resource(mesh, "queue", STRANGER)
    allowed = int(mesh.server.eval(f"length(rabbit_amqqueue:list({vhost}))"))
    _done(
        mesh,
        f'ok = rabbit_vhost_limit:set({vhost}, [{{<<"max-queues">>, {allowed}}}], <<>>), '
        f"{_deleted(mesh, _some_queue(mesh))}, "
        f"rabbit_amqqueue:declare({stranger}, true, false, [], none, <<>>)",
    )
    try:
        _last(mesh)
    finally:
        gone = _done(mesh, _deleted(mesh, STRANGER))
        mesh.server.limit_vhost(mesh.vhost)
    return gone


def delete_virtual_host(mesh: Mesh) -> Harmed:
    mesh.server.delete_vhost(mesh.vhost)
    try:
        _last(mesh)
    finally:
        again = f"rabbit_vhost:add({erlang_string(mesh.vhost)}, <<>>), {mesh.user.may()}"
        made = _done(mesh, again)
    return made


def restart_sender(mesh: Mesh) -> None:
    sender = mesh.random.choice(mesh.senders)
    sender.stop()
    sender.start()


def rotate_key(mesh: Mesh) -> Harmed:
    def another() -> Harmed:
        fault = mesh.random.choice(sorted(FAULTS))
        harmed, _ = mesh.suffer(f"key rotated amid: {fault}", FAULTS[fault])
        mesh.doing = "key rotated"
        return harmed

    return rotate(mesh, another)


def miss_step(mesh: Mesh) -> Harmed:
    return follow_late(mesh, lambda: _last(mesh))


FAULTS: Mapping[str, Harm] = {
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
    "queue arguments changed": change_queue_arguments,
    "poison event": poison_receiver,
    "event too large for the broker": send_too_large,
    "right to write to exchange revoked": revoke_exchange,
    "right to write to topic revoked": revoke_topic,
    "right to read revoked": revoke_reading,
    "password changed": change_password,
    "max-connections below need": limit_connections,
    "max-channels below need": limit_channels,
    "queue replaced by stranger's, max-queues": take_place_of_queue,
    "virtual host deleted and made again": delete_virtual_host,
}
HARMS: Mapping[str, Harm] = {
    **FAULTS,
    "key rotated amid other faults": rotate_key,
    "key rotated, a node misses a step": miss_step,
}


def _done(mesh: Mesh, expression: str) -> Harmed:
    """Let the broker do it; a deletion is over at once, and long before the command returns."""
    done_us = mesh.server.eval(f"begin {expression}, os:system_time(microsecond) end")
    return Harmed(mended=time.monotonic() - (time.time() - int(done_us) / 1e6))


def _resource(mesh: Mesh, kind: str, name: str) -> str:
    return f"rabbit_misc:r({erlang_string(mesh.vhost)}, {kind}, {erlang_string(name)})"


def _some_queue(mesh: Mesh) -> str:
    """One of a chart."""
    names = mesh.server.rabbitmqctl("list_queues", "-p", mesh.vhost, "name").split()
    prefix = exchange_of("mesh")
    queue = mesh.random.choice(sorted(name for name in names if name.startswith(prefix)))
    mesh.doing += f" {queue}"
    return queue


def _deleted(mesh: Mesh, queue: str) -> str:
    found = f"{{ok, Queue}} = rabbit_amqqueue:lookup({_resource(mesh, 'queue', queue)})"
    return f"{found}, {{ok, _}} = rabbit_amqqueue:delete(Queue, false, false, <<>>)"


def _letters(mesh: Mesh) -> int:
    """How many dead letters the broker has."""
    queues = mesh.server.rabbitmqctl("list_queues", "-p", mesh.vhost, "name", "messages")
    found = (line.split() for line in queues.splitlines())
    return next((int(count) for name, count in found if name == exchange_of("letters")), 0)


def _revoke_writing(mesh: Mesh, taken: str, given: str) -> Harmed:
    seconds = mesh.random.uniform(0.25, 1.0) * REFUSED * len(mesh.senders) / mesh.per_s
    mesh.doing += f" for {seconds:.1f} s"
    # At once, for a command takes long on a busy machine. RabbitMQ goes by what it has looked up
    # for a channel, as long as the channel lives.
    return _done(mesh, f"{taken}, {CLOSE}, timer:sleep({seconds * 1000:.0f}), {given}")


def _limit(mesh: Mesh, limit: str, used: str) -> Harmed:
    """Allow half of what is used, and let all connect anew."""
    allowed = int(mesh.server.eval(f"length({used})")) // 2
    mesh.doing += f" ({allowed})"
    _done(mesh, f"{mesh.user.limited(limit, allowed)}, {CLOSE}")
    try:
        _last(mesh)
    finally:
        lifted = _done(mesh, mesh.user.unlimited(limit))
    return lifted


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
