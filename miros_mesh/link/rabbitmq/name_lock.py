"""A name that one live process may hold at a broker: an exclusive queue on its connection."""

from __future__ import annotations

import logging
import time

import amqp
import kombu

from miros_mesh.errors import NodeNameTakenError

_COMPLAIN_EVERY_S = 60.0
# A broker needs two heartbeats to notice that a connection is dead.
_PATIENCE_HEARTBEATS = 3

logger = logging.getLogger(__name__)


class NameLock:
    """Held as long as the connection that took it lives; the broker forgets it with that."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where
        self._complain_at = 0.0
        self.held = False

    def take(self, connection: kombu.Connection) -> None:
        """Raises `NodeNameTakenError` while another live connection holds it."""
        try:
            self._declare(connection)
        except amqp.ResourceLocked as error:
            raise NodeNameTakenError(
                f"{self._where}: another live process has the queue {self._name}, and with it the "
                "node name; give each process a node_name of its own. After a crash the broker "
                "frees it within about two heartbeats"
            ) from error

    def take_back(self, connection: kombu.Connection) -> None:
        """Try after a reconnect, when it may be our own dead connection that still holds it.

        Refused, it is worth another try later; `held` tells.
        """
        now = time.monotonic()
        if self.held:
            self.held = False
            self._complain_at = now + _PATIENCE_HEARTBEATS * (connection.heartbeat or 0)
        try:
            self._declare(connection)
        except amqp.ChannelError as error:
            if now >= self._complain_at:
                self._complain_at = now + _COMPLAIN_EVERY_S
                logger.error(  # noqa: TRY400 - the error says no more than this
                    "%s gives us %s no more: does another process use this node_name? (%s)",
                    self._where,
                    self._name,
                    error,
                )

    def _declare(self, connection: kombu.Connection) -> None:
        with connection.channel() as channel:
            queue = kombu.Queue(
                self._name,
                exclusive=True,
                durable=False,
                queue_arguments={"x-queue-type": "classic"},
            )
            queue(channel).queue_declare()
        self.held = True
