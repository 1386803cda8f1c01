"""What RabbitMQs of several versions do otherwise: how it is measured, and what it is to us.

`docs/brokers.md` has it as a table; `contract/test_broker_facts.py` measures the server at hand.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import amqp
import kombu

from support.rabbitmq_server import HOST, RabbitServer, RabbitServerError

SERIES: Final = "3.10", "4.0", "4.3"
"""Those that were measured; one between them is expected to do as the last before it."""
Measure = Callable[[RabbitServer, str], str]
_RETURNS = 25
"""More than the twenty after which RabbitMQ 4 takes a message away."""
_MIB: Final = 1024 * 1024
_AMQP_1_0 = b"AMQP\x03\x01\x00\x00"
_NOTES = "https://github.com/rabbitmq/rabbitmq-server/blob/main/release-notes/"
_FROM_4_0 = f"[4.0.1]({_NOTES}4.0.1.md)"
_FROM_4_1 = f"[4.1.0]({_NOTES}4.1.0.md)"
_FROM_4_2 = f"[4.2.0]({_NOTES}4.2.0.md)"
_FROM_4_3 = f"[4.3.0]({_NOTES}4.3.0.md)"


@dataclass(frozen=True)
class Fact:
    """A question to a server, with what the versions answer from which on."""

    what: str
    measure: Measure
    since: Mapping[str, str]
    source: str
    ours: str

    def of(self, version: str) -> str:
        """What a server of this version is expected to answer."""
        later = _numbers(version)
        return [words for first, words in self.since.items() if _numbers(first) <= later][-1]


def version(server: RabbitServer) -> str:
    """The version of a server."""
    return server.eval("rabbit_misc:version()").strip('"')


def table() -> str:
    """All facts, for the page on brokers."""
    heads = ["what", *SERIES, "source", "what the library does"]
    rows = [[f.what, *map(f.of, SERIES), f.source, f.ours] for f in FACTS]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def _numbers(of: str) -> tuple[int, ...]:
    return tuple(int(number) for number in of.split(".")[:2])


@contextmanager
def _channel(url: str) -> Iterator[Any]:
    with kombu.Connection(url) as connection:
        yield connection.channel()


def _said(error: amqp.AMQPError) -> str:
    return f"refused ({error.reply_code})"


def _declared(url: str, **options: Any) -> str:
    try:
        with _channel(url) as channel:
            channel.queue_declare("asked", auto_delete=False, **options)
            channel.queue_delete("asked")
    except amqp.AMQPError as error:
        return _said(error)
    return "allowed"


def _deliveries(url: str, *, limit: int | None, give_back: Callable[[Any, int], None]) -> str:
    """How often a message of a quorum queue comes."""
    arguments = {"x-queue-type": "quorum"} | ({} if limit is None else {"x-delivery-limit": limit})
    with _channel(url) as channel:
        channel.queue_declare("returned", durable=True, auto_delete=False, arguments=arguments)
        channel.confirm_select()
        channel.basic_publish_confirm(amqp.Message("again"), routing_key="returned")
    came = 0
    while came <= _RETURNS:
        with _channel(url) as channel:
            message = channel.basic_get("returned")
            if message is None:
                return f"{came} times, then never"
            came += 1
            give_back(channel, message.delivery_tag)
    with _channel(url) as channel:
        channel.queue_delete("returned")
    return "for ever"


def _nack(channel: Any, tag: int) -> None:
    channel.basic_reject(tag, requeue=True)


def _leave(channel: Any, tag: int) -> None:
    """Close the channel with the message unacknowledged, as a lost connection does."""


def _global_qos(_: RabbitServer, url: str) -> str:
    try:
        with _channel(url) as channel:
            channel.basic_qos(0, 10, True)
    except amqp.AMQPError as error:
        return _said(error)
    return "allowed"


def _mirrors(server: RabbitServer, url: str) -> str:
    vhost = url.rpartition("/")[2]
    try:
        server.rabbitmqctl("set_policy", "-p", vhost, "mirror", ".*", '{"ha-mode":"all"}')
    except RabbitServerError as error:
        return "the policy is refused" if "ha-mode" in str(error) else str(error)
    return "the policy is taken"


def _largest(server: RabbitServer, _: str) -> str:
    size = int(server.eval("rabbit_misc:get_env(rabbit, max_message_size, 0)"))
    return f"{size // _MIB} MiB"


def _frame_size(_: RabbitServer, url: str) -> str:
    with kombu.Connection(url) as connection:
        connection.connect()
        return f"{connection.connection.frame_max // 1024} KiB"


def _metadata(server: RabbitServer, _: str) -> str:
    khepri = server.eval("catch rabbit_khepri:is_enabled()")
    return "Khepri" if khepri == "true" else "Mnesia"


def _amqp_1_0(server: RabbitServer, _: str) -> str:
    with socket.create_connection((HOST, server.port), timeout=10) as client:
        client.sendall(_AMQP_1_0)
        return "spoken" if client.recv(8) == _AMQP_1_0 else "not without a plugin"


FACTS: Final = (
    Fact(
        "a message of a quorum queue that is given back comes",
        lambda _, url: _deliveries(url, limit=None, give_back=_nack),
        {"3.10": "for ever", "4.0": "21 times, then never"},
        _FROM_4_0,
        "declares its quorum queues with `x-delivery-limit` 1,000,000; gives nothing back",
    ),
    Fact(
        "one whose consumer's channel ends comes",
        lambda _, url: _deliveries(url, limit=None, give_back=_leave),
        {"3.10": "for ever", "4.0": "21 times, then never"},
        _FROM_4_0,
        "the same: a link that breaks again and again loses no event",
    ),
    Fact(
        "the same, with the limit of the library's queues",
        lambda _, url: _deliveries(url, limit=1_000_000, give_back=_leave),
        {"3.10": "for ever"},
        "measured",
        "-",
    ),
    Fact(
        "one prefetch for a channel (global QoS)",
        _global_qos,
        {"3.10": "allowed"},
        "measured; 4.3.6 lists it as denied, and answers as before",
        "one prefetch for each consumer",
    ),
    Fact(
        "a queue neither durable nor exclusive (transient)",
        lambda _, url: _declared(url),
        {"3.10": "allowed"},
        f"measured; {_FROM_4_3} refuses it, but 4.3.6 of Debian lists it as permitted",
        "has none: its queues are durable and expire",
    ),
    Fact(
        "an exclusive queue that is not durable",
        lambda _, url: _declared(url, exclusive=True),
        {"3.10": "allowed"},
        "measured",
        "marks with it that a `node_name` is taken",
    ),
    Fact(
        "classic queues with mirrors (`ha-mode`)",
        _mirrors,
        {"3.10": "the policy is taken", "4.0": "the policy is refused"},
        _FROM_4_0,
        "has [quorum queues](decisions/clusters.md)",
    ),
    Fact(
        "the largest message",
        _largest,
        {"3.10": "128 MiB", "4.0": "16 MiB"},
        _FROM_4_0,
        "the largest frame of default settings is about 1 MiB; settings beyond are refused by the "
        "broker and [set aside](delivery.md)",
    ),
    Fact(
        "the largest frame that is offered, which from 4.1 on must be 8 KiB at least",
        _frame_size,
        {"3.10": "128 KiB"},
        _FROM_4_1,
        "takes what the broker offers",
    ),
    Fact(
        "where a new server keeps queues and users",
        _metadata,
        {"3.10": "Mnesia", "4.0": "Mnesia", "4.2": "Khepri"},
        _FROM_4_2,
        "nothing: it uses AMQP alone",
    ),
    Fact(
        "AMQP 1.0 at the same port",
        _amqp_1_0,
        {"3.10": "not without a plugin", "4.0": "spoken"},
        _FROM_4_0,
        "speaks AMQP 0-9-1, which stays",
    ),
)
