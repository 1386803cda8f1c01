"""What a subscriber declares, in the broker's words."""

from __future__ import annotations

from typing import Any, Final

import kombu

from miros_mesh.link.ports import QueueSpec

LETTERS: Final = "miros_mesh.v1.letters"
"""The exchange and the queue of dead letters."""

# From 4.0 on, a RabbitMQ takes a message away that came again 20 times: lost connections, to us.
_DELIVERY_LIMIT: Final = 1_000_000
# With 32 commands on their way to a quorum queue, RabbitMQ 3.10 keeps further acknowledgements back
# in the channel (quorum_commands_soft_limit) and forgets them when it closes; each is a command.
QUORUM_PREFETCH: Final = 30
# Enough to find out what is wrong; what refuses everything must not fill the broker's disk. One
# letter has 8 MiB at most, so that it never pushes out many others.
_LETTERS_KEPT: Final = 1_000
_LETTERS_KEPT_BYTES: Final = 128 * 1024 * 1024
_LETTERS_KEPT_MS: Final = 7 * 24 * 60 * 60 * 1_000


def queue_of(spec: QueueSpec, name: str = "") -> kombu.Queue:
    """A queue with its exchanges and its bindings; `name` is that of a later generation."""
    exchanges = {
        each.exchange: kombu.Exchange(each.exchange, type="topic", durable=each.durable)
        for each in spec.bindings
    }
    return kombu.Queue(
        name or spec.name,
        bindings=[kombu.binding(exchanges[each.exchange], each.pattern) for each in spec.bindings],
        # Durable, so that a restart of the broker loses no frame; `x-expires` removes it in the
        # end.
        durable=True,
        queue_arguments=_arguments(spec),
    )


def prefetch_of(spec: QueueSpec) -> int:
    """How many messages its consumer takes ahead of their acknowledgement."""
    return min(spec.prefetch, QUORUM_PREFETCH) if spec.replicated else spec.prefetch


def letters() -> kombu.Queue:
    """One queue for the dead letters of all charts, for people to look at; the oldest go."""
    return kombu.Queue(
        LETTERS,
        exchange=kombu.Exchange(LETTERS, type="topic", durable=True),
        routing_key="#",
        durable=True,
        queue_arguments={
            "x-queue-type": "classic",
            "x-max-length": _LETTERS_KEPT,
            "x-max-length-bytes": _LETTERS_KEPT_BYTES,
            "x-message-ttl": _LETTERS_KEPT_MS,
            "x-overflow": "drop-head",
        },
    )


def _arguments(spec: QueueSpec) -> dict[str, Any]:
    # A change here makes a new generation of each lasting queue (`generations`).
    arguments: dict[str, Any] = {
        # In milliseconds. Counted while the queue has no consumer: a node that is killed leaves
        # none for long.
        "x-expires": int(spec.expires_s * 1000),
    }
    if spec.consumers != "shared":
        # Beside a consumer that is dead without the broker's knowledge, ours would get every other
        # frame now and the rest when the broker finds out.
        arguments["x-single-active-consumer"] = True
    if spec.max_length is not None:
        arguments["x-max-length"] = spec.max_length
    if spec.max_bytes is not None:
        arguments["x-max-length-bytes"] = spec.max_bytes
    if spec.replicated:
        arguments["x-queue-type"] = "quorum"
        arguments["x-delivery-limit"] = _DELIVERY_LIMIT
    return arguments
