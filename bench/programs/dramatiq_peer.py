"""dramatiq over RabbitMQ: each message confirmed, stored, and acknowledged after its actor."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

import talk


def main() -> None:
    """Play a role until the input ends."""
    settings = talk.settings()
    broker = RabbitmqBroker(url=settings["url"], confirm_delivery=True)
    dramatiq.set_broker(broker)
    counter = talk.Counter()

    @dramatiq.actor(queue_name=settings["topic"], max_retries=0)  # type: ignore[untyped-decorator]
    def handle(content: str) -> None:
        counter.count(content.encode())

    if settings["role"] == "receiver":
        # As many threads as its own command takes, in one process.
        worker = dramatiq.Worker(broker, worker_threads=8)
        worker.start()
        talk.receive(counter.listen, in_order=False)
        worker.stop()
    else:
        talk.send(lambda number, filled: handle.send(talk.body(number, filled).decode()))
    broker.close()


if __name__ == "__main__":
    main()
