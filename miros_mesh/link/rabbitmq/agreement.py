"""What all agree on who consume a queue together, kept at the broker as long as one of them lives.

Each declares and consumes a queue of the terms before the queue itself. A broker refuses it to who
wants other terms, and deletes it with its last consumer: the next ones may agree on something else.

In a cluster that queue is on one server. While that is down they agree in the next of three places;
who comes when it is back looks in the first one, and then other terms are not noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import amqp
import kombu

from miros_mesh.errors import TermsError
from miros_mesh.link.ports import Terms
from miros_mesh.link.rabbitmq.consumer import Consumer
from miros_mesh.link.rabbitmq.declarer import Declarer, places

_TERMS_ARGUMENT: Final = "x-dead-letter-routing-key"
_EXPIRE_MS: Final = 60_000
# RabbitMQ 3.8 and older say "the value '...' of type 'longstr'". A text that is too long is cut.
_PRESENT: Final = re.compile(
    rf"inequivalent arg '{_TERMS_ARGUMENT}' .* but current is (?:the value )?'([^']+)'", re.DOTALL
)


class Agreement:
    """The terms of one queue, and the consumer that keeps them; for the subscriber's thread.

    `writable` is an exchange that each node may write to: RabbitMQ asks for that.
    """

    def __init__(self, terms: Terms, writable: str) -> None:
        self._terms = terms
        self._writable = writable
        self.consumer: Consumer | None = None
        """None without a connection, and while the terms are refused."""

    def enter(self, declarer: Declarer, consumer: Callable[[str], Consumer]) -> None:
        """Agree with all who are there, unless that was done; `consumer` makes one of a queue.

        Raises `TermsError` when they have agreed on something else.
        """
        if self.consumer and self.consumer.alive:
            return
        self.consumer = None
        made = consumer(self._declared(declarer))
        made.start()
        self.consumer = made

    def _declared(self, declarer: Declarer) -> str:
        """Declare the terms; returns in which place. Raises `TermsError`."""
        *before, last = places(self._terms.queue)
        for place in before:
            with suppress(amqp.NotFound):
                return self._declared_in(place, declarer)
        return self._declared_in(last, declarer)

    def _declared_in(self, place: str, declarer: Declarer) -> str:
        try:
            declarer.declare_unbound(_queue_of(place, self._terms, self._writable))
        except amqp.PreconditionFailed as error:
            raise _refused(self._terms, error) from error
        return place

    def leave(self) -> None:
        """Hold to the terms no longer."""
        consumer, self.consumer = self.consumer, None
        if consumer and consumer.alive:
            consumer.stop()

    def forget(self) -> None:
        """Hear that the connection is gone, and the consumer with it."""
        self.consumer = None


def _refused(terms: Terms, error: amqp.PreconditionFailed) -> TermsError:
    said = _PRESENT.search(error.reply_text or "")
    present = said[1] if said else ""
    others = repr(present) if present else "something else"
    return TermsError(
        f"those who consume by {terms.queue} have agreed on {others}, and this one wants "
        f"{terms.text!r}",
        terms.text,
        present,
    )


def _queue_of(place: str, terms: Terms, writable: str) -> kombu.Queue:
    """A queue that says by its arguments what those have agreed on who consume it."""
    return kombu.Queue(
        place,
        durable=True,
        auto_delete=True,
        queue_arguments={
            # For those who ended before they consumed it.
            "x-expires": _EXPIRE_MS,
            # Says nothing of a queue that gets no message, and is compared when it is declared.
            "x-dead-letter-exchange": writable,
            _TERMS_ARGUMENT: terms.text,
        },
    )
