"""aio-pika: a hundred publications at a time, each confirmed; stored, and acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika

import talk

PREFETCH = 100


async def main() -> None:
    """Play a role until the input ends."""
    settings = await asyncio.to_thread(talk.settings)
    connection = await aio_pika.connect_robust(settings["url"])
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(settings["topic"], durable=True)
        if settings["role"] == "receiver":
            await _receive(queue)
        else:
            await _send(channel.default_exchange, settings["topic"])


async def _send(exchange: Any, topic: str) -> None:
    async def publish(bodies: list[bytes]) -> None:
        stored = aio_pika.DeliveryMode.PERSISTENT
        await asyncio.gather(
            *(
                exchange.publish(aio_pika.Message(each, delivery_mode=stored), routing_key=topic)
                for each in bodies
            )
        )

    await talk.send_batches_async(publish)


async def _receive(queue: Any) -> None:
    counter = talk.Counter()

    async def on_message(message: Any) -> None:
        async with message.process():
            counter.count(message.body)

    await queue.consume(on_message)
    await asyncio.to_thread(talk.receive, counter.listen, in_order=False)


if __name__ == "__main__":
    asyncio.run(main())
