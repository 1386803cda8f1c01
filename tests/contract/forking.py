"""A process that forks while it publishes and consumes, and says what it saw of that."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from miros_mesh.address import BrokerAddress
from miros_mesh.link.kombu_link import KombuLink, amqp_link, embedded_link
from miros_mesh.link.ports import Broker
from support.post_office import LIMIT_S, SETTINGS, Mailbox, Notebook, letter, queue
from support.waiting import wait_until

ROUNDS = 100


class Conversation:
    """A publisher and a subscriber of one link at work."""

    def __init__(self, where: str) -> None:
        self.notes, self.mailbox = Notebook(), Mailbox()
        self.link, broker = at(where, self.notes)
        self.publisher = self.link.publisher(broker)
        self.subscriber = self.link.subscriber(broker, "miros_mesh.v1.name")
        self.publisher.start()
        self.subscriber.start()
        self.subscriber.wait_ready(LIMIT_S)
        self.subscriber.add(queue(), self.mailbox, LIMIT_S)

    def exchange(self, *texts: str) -> None:
        """Publish, and wait until all has come and is confirmed."""
        before, confirmed = len(self.mailbox.deliveries), self.notes.published_events
        for text in texts:
            self.publisher.put(letter(text))
        self.mailbox.expect(before + len(texts))
        wait_until(lambda: self.notes.published_events >= confirmed + len(texts))

    def stop(self) -> int:
        """End everything."""
        left = self.publisher.stop(LIMIT_S).left_over
        self.subscriber.stop(LIMIT_S)
        self.link.close()
        return left


def at(where: str, notes: Notebook) -> tuple[KombuLink, Broker]:
    """A link to the broker at a URL or in a folder."""
    settings = replace(SETTINGS, observer=notes)
    if where.startswith("amqp"):
        address = BrokerAddress.parse(where)
        return amqp_link(settings), Broker(address.redacted, (address,))
    return embedded_link(settings, Path(where)), Broker("embedded")


def nothing() -> None:
    """What a child of multiprocessing does."""


def child_of_multiprocessing() -> int | None:
    """Kombu has ideas of its own about what such a child inherits."""
    child = multiprocessing.get_context("fork").Process(target=nothing)
    child.start()
    child.join(LIMIT_S)
    return child.exitcode


def forked_child(talk: Conversation, *, stops: bool) -> int:
    """It lets go of everything, and ends like any program."""
    pid = os.fork()
    if not pid:
        talk.link.abandon()
        if stops:
            talk.stop()
        sys.exit(0)
    talk.exchange("meanwhile")
    return os.waitpid(pid, 0)[1]


def outlived(talk: Conversation) -> None:
    """Wait to be killed, with a child that lets go of everything and lives on."""
    if not os.fork():
        talk.link.abandon()
        print("{}", flush=True)
        sys.stdin.read()
        sys.exit(0)
    signal.pause()


def main(where: str, how: str) -> None:
    talk = Conversation(where)
    talk.exchange("before")
    if how == "outlived":
        outlived(talk)
    if how == "multiprocessing":
        status = child_of_multiprocessing()
    else:
        status = forked_child(talk, stops=how == "stops")
    talk.exchange(*(f"after {number}" for number in range(ROUNDS)))
    texts = talk.mailbox.texts
    facts = {
        "status": status,
        "last": texts[-1],
        "copies": len(texts) - len(set(texts)),
        "ups": talk.notes.ups,
        "downs": talk.notes.downs.copy(),
        "subscriptions": talk.notes.subscriptions,
    }
    print(json.dumps({**facts, "left": talk.stop()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
