"""The name lock: a node name that one live process holds at a broker, by an exclusive queue."""

from __future__ import annotations

import time
from typing import Any

import amqp
import kombu

from miros_mesh.errors import NodeNameTakenError
from miros_mesh.text import logger_of

_COMPLAIN_EVERY_S = 60.0
# A broker needs two heartbeats to notice that a connection is dead: until then it may be our own
# that still holds the name. The third is for a broker that is slow.
_PATIENCE_HEARTBEATS = 3

logger = logger_of(__name__)


class NameLock:
    """Held as long as the connection that took it lives; the broker frees it with that.

    For the subscriber's thread alone.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where
        self._complain_at = 0.0
        self.held = False
        """Whether the present connection holds it."""

    def take(self, channel: Any) -> None:
        """Hold the name; raises `NodeNameTakenError` while another live connection holds it."""
        try:
            self._declare(channel)
        except amqp.ResourceLocked as error:
            raise NodeNameTakenError(
                f"{self._where}: another live process has the queue {self._name}, and with it the "
                "node name; give each process a node_name of its own. After a crash the broker "
                "frees it within about two heartbeats"
            ) from error

    def take_back(self, channel: Any, heartbeat_s: float) -> None:
        """Try to hold the name after a reconnect; `held` tells whether that worked.

        Raises nothing when it is taken: it may be our own dead connection that still holds it, and
        the charts of a node at work need not wait for that. Try again later.
        """
        now = time.monotonic()
        if self.held:
            self.held = False
            # Once for each loss: only the first try after it finds `held` set.
            self._complain_at = now + _PATIENCE_HEARTBEATS * heartbeat_s
        try:
            self._declare(channel)
        # More than ResourceLocked: a permission that was taken away costs the name, not the charts.
        except amqp.ChannelError as error:
            if now >= self._complain_at:
                self._complain_at = now + _COMPLAIN_EVERY_S
                logger.error(  # noqa: TRY400 - the error says no more than this
                    "node name lost: %s does not give us %s again (%s); give each process a "
                    "node_name of its own",
                    self._where,
                    self._name,
                    error,
                )

    def _declare(self, channel: Any) -> None:
        # It outlives the channel: an exclusive queue belongs to the connection, and RabbitMQ
        # deletes it with that (AMQP 0-9-1, queue.declare).
        queue = kombu.Queue(
            self._name,
            exclusive=True,
            durable=False,
            # Where quorum is the default of a virtual host: no quorum queue can be exclusive.
            queue_arguments={"x-queue-type": "classic"},
        )
        queue(channel).queue_declare()
        self.held = True
