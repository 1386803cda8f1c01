"""Redis streams: XADD in pipelines of 100, a consumer group that reads and acknowledges by 100."""

from __future__ import annotations

import threading
from typing import Any

import redis

import talk

GROUP = "bench"
_WAIT_MS = 500


def main() -> None:
    """Play a role until the input ends."""
    settings = talk.settings()
    client = redis.Redis.from_url(settings["url"])
    topic = settings["topic"]
    if settings["role"] == "receiver":
        client.xgroup_create(topic, GROUP, id="$", mkstream=True)
        _receive(client, topic)
    else:
        talk.send_batches(lambda bodies: _add(client, topic, bodies))
    client.close()


def _add(client: Any, topic: str, bodies: list[bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for each in bodies:
        pipeline.xadd(topic, {"body": each})
    pipeline.execute()


def _receive(client: Any, topic: str) -> None:
    counter = talk.Counter()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            read = client.xreadgroup(GROUP, "one", {topic: ">"}, count=talk.BATCH, block=_WAIT_MS)
            for _, messages in read or ():
                for _, fields in messages:
                    counter.count(fields[b"body"])
                client.xack(topic, GROUP, *(number for number, _ in messages))

    reader = threading.Thread(target=read)
    reader.start()
    talk.receive(counter.listen, in_order=True)
    ended.set()
    reader.join()


if __name__ == "__main__":
    main()
