"""The dead letters that a home broker keeps, opened with the key of their mesh."""

from __future__ import annotations

import kombu
from amqp.exceptions import NotFound

from miros_mesh import MeshConfig
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.link.rabbitmq.queues import LETTERS
from miros_mesh.networks.letters.home import LARGEST_LETTER_BYTES
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import DeadLetter
from miros_mesh.wire.keyring import KeyRing
from support.charts_at_work import keys_of


def kept_letters(config: MeshConfig) -> list[DeadLetter]:
    """All of them, the oldest first; they stay there."""
    codec = Codec(
        "letters",
        KeyRing(keys_of(config)),
        DeadLetter,
        max_frame_bytes=LARGEST_LETTER_BYTES + 1_000,
    )
    letters: list[DeadLetter] = []
    with _connection(config) as connection:
        # What is not acknowledged is there again when the channel is gone.
        channel = connection.channel()
        try:
            while message := channel.basic_get(LETTERS):
                letters += codec.open(bytes(message.body))
        except NotFound:
            return []
        channel.close()
    return letters


def _connection(config: MeshConfig) -> kombu.Connection:
    url = config.broker_url[0] if isinstance(config.broker_url, tuple) else None
    return kombu.Connection(url) if url else embedded(config.home_folder)
