"""NATS JetStream: a stream in a file, publications acknowledged by 100, each event acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

import talk

ON_ITS_WAY = 1_000


async def main() -> None:
    """Play a role until the input ends."""
    settings = await asyncio.to_thread(talk.settings)
    topic = settings["topic"]
    client = await nats.connect(settings["url"])
    stream = client.jetstream()
    await stream.add_stream(name=topic, subjects=[topic], storage=StorageType.FILE)
    if settings["role"] == "receiver":
        await _receive(stream, topic)
    else:
        await _send(stream, topic)
    await client.close()


async def _send(stream: Any, topic: str) -> None:
    async def publish(bodies: list[bytes]) -> None:
        await asyncio.gather(*[await stream.publish_async(topic, each) for each in bodies])

    await talk.send_batches_async(publish)


async def _receive(stream: Any, topic: str) -> None:
    counter = talk.Counter()

    async def on_message(message: Any) -> None:
        counter.count(message.data)
        await message.ack()

    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=ON_ITS_WAY)
    await stream.subscribe(topic, durable="bench", cb=on_message, manual_ack=True, config=config)
    await asyncio.to_thread(talk.receive, counter.listen, in_order=True)


if __name__ == "__main__":
    asyncio.run(main())
