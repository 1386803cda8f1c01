"""FastStream over RabbitMQ: a hundred publications at a time, confirmed; stored, acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

import talk

PREFETCH = 100


async def main() -> None:
    """Play a role until the input ends."""
    settings = await asyncio.to_thread(talk.settings)
    channel = Channel(prefetch_count=PREFETCH, publisher_confirms=True)
    broker = RabbitBroker(settings["url"], default_channel=channel, logger=None)
    queue = RabbitQueue(settings["topic"], durable=True)
    if settings["role"] == "receiver":
        await _receive(broker, queue)
    else:
        await _send(broker, queue)


async def _send(broker: Any, queue: Any) -> None:
    async def publish(bodies: list[bytes]) -> None:
        await asyncio.gather(*(broker.publish(each, queue=queue, persist=True) for each in bodies))

    async with broker:
        await broker.start()
        await broker.declare_queue(queue)
        await talk.send_batches_async(publish)


async def _receive(broker: Any, queue: Any) -> None:
    counter = talk.Counter()

    @broker.subscriber(queue)  # type: ignore[untyped-decorator]
    async def on_message(body: bytes) -> None:
        counter.count(body)

    async with broker:
        await broker.start()
        await asyncio.to_thread(talk.receive, counter.listen, in_order=False)


if __name__ == "__main__":
    asyncio.run(main())
