"""The generations of a lasting queue: what waits in one of other arguments is handled first.

A broker refuses a queue that exists with other arguments, and a new release of a program may want
others. So a lasting queue has three places, which are its name and two names that are made of it.
The new generation is declared in the next place and bound; then the old one is unbound, consumed
until it is empty, and deleted. What both got meanwhile are copies, which receivers drop.

| found                        | declared | consumed, in this order | and then                    |
| ---------------------------- | -------- | ----------------------- | --------------------------- |
| nothing                      | first    | it                      |                             |
| one, as wanted               | it       | it                      |                             |
| one, not as wanted           | the next | it, the next            | it is deleted once empty    |
| two: a process ended between | none     | the older, the newer    | the same; then as with one  |

In a circle of three, two places tell which of them is the older: the one before the other.

A private queue has the same places for another reason. In a cluster it is on one server, and while
that is down the others neither have it nor let it be made anew: it goes on in the next place, and
what the old one held is asked for again. When the old one is back it expires.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import amqp
import kombu

from miros_mesh.link.rabbitmq.declarer import Declarer, places
from miros_mesh.text import logger_of

# RabbitMQ's words, and those of the embedded broker.
_OTHER_ARGUMENT: Final = re.compile(r"inequivalent arg ('(?P<name>[\w-]+)' )?for queue ")

logger = logger_of(__name__)


class Generations:
    """Which queues of one name there are, and how they are made one. For one thread.

    A queue that does not last has one generation, and other arguments refuse it. One that is
    `private` moves on where its server is down; one that others consume under its name may not.
    """

    def __init__(
        self,
        name: str,
        queue_of: Callable[[str], kombu.Queue],
        *,
        lasting: bool,
        private: bool = False,
    ) -> None:
        self._name = name
        self._lasting = lasting
        self._private = private
        self._places = places(name)
        self._queues = {place: queue_of(place) for place in self._places}
        self.names: list[str] = []
        """Those to consume, the oldest first; events come into the last one."""

    @property
    def newest(self) -> kombu.Queue:
        """The one that events come into."""
        return self._queues[self.names[-1]]

    def declare(self, declarer: Declarer) -> bool:
        """Declare, or find out which ones there are; returns whether any was there before.

        Raises what refuses that, but for arguments that a lasting queue may change.
        """
        if not self._lasting:
            self._declare_one(declarer)
            return False
        # Three questions for the first time; from then on the one queue is known.
        if len(self.names) == 1 and not self._other_argument(declarer, self.names[0]):
            return True
        found = self._found(declarer)
        if not found:
            declarer.declare(self._queues[self._name])
            self.names = [self._name]
        elif len(found) > 1:
            self._go_on(declarer, found)
        elif argument := self._other_argument(declarer, found[0]):
            self._begin(declarer, found[0], argument)
        else:
            self.names = found
        return bool(found)

    def emptied(self, declarer: Declarer) -> None:
        """Delete the oldest one, which is empty and has no consumer any more."""
        oldest = self.names.pop(0)
        try:
            declarer.delete(oldest)
        except amqp.ChannelError as error:
            # The newer one is consumed all the same.
            logger.warning(
                "the queue %s is empty, and %s took its place; the broker refuses to delete it "
                "(%s), so it stays until it expires",
                *(oldest, self.names[0], error.reply_text),
            )
        else:
            logger.info("the queue %s is empty and deleted; %s took its place", oldest, *self.names)

    def _declare_one(self, declarer: Declarer) -> None:
        """Declare the one queue, or the next place of a private one whose server is down."""
        *before, last = self._in_turn
        for place in before:
            try:
                declarer.declare(self._queues[place])
            # What it is to a declaration, by which a queue is made, that there is one elsewhere.
            except amqp.NotFound as error:
                logger.warning("the queue %s is left, another one is made: %s", place, error)
            else:
                self.names = [place]
                return
        declarer.declare(self._queues[last])
        self.names = [last]

    @property
    def _in_turn(self) -> tuple[str, ...]:
        """The places in which to look for the one queue, first where it was last."""
        if not self._private:
            return (self._name,)
        present = self._places.index(self.names[0]) if self.names else 0
        return (*self._places[present:], *self._places[:present])

    def _found(self, declarer: Declarer) -> list[str]:
        found = [place for place in self._places if declarer.exists(place)]
        # The third is followed by the first.
        return found[::-1] if found == [self._places[0], self._places[-1]] else found

    def _other_argument(self, declarer: Declarer, name: str) -> str:
        """Declare one; returns which argument it has otherwise, and nothing if it has none."""
        try:
            declarer.declare(self._queues[name])
        except amqp.PreconditionFailed as error:
            if found := _OTHER_ARGUMENT.search(error.reply_text or ""):
                return found["name"] or "argument"
            raise
        return ""

    def _go_on(self, declarer: Declarer, found: list[str]) -> None:
        # The last process may have ended before it had bound the newest.
        declarer.bind(self._queues[found[-1]])
        for older in found[:-1]:
            declarer.unbind(self._queues[older])
        self.names = found
        logger.info("the queue %s is emptied before %s is consumed", found[0], found[-1])

    def _begin(self, declarer: Declarer, old: str, argument: str) -> None:
        following = self._places[(self._places.index(old) + 1) % len(self._places)]
        try:
            declarer.declare(self._queues[following])
        except amqp.ChannelError as error:
            # One queue more than the broker allows, say. The old one still does its work.
            logger.warning(
                "the queue %s stays as it is, with another %s than wanted: the broker refuses %s "
                "(%s)",
                *(old, argument, following, error.reply_text),
            )
            declarer.bind(self._queues[old])
            self.names = [old]
            return
        declarer.unbind(self._queues[old])
        self.names = [old, following]
        logger.warning(
            "the queue %s was declared with another %s: it is emptied and then deleted, and %s "
            "takes its place",
            *(old, argument, following),
        )


def newest_of(name: str, exists: Callable[[str], bool]) -> str | None:
    """Return the name of a queue's newest generation; None when there is no queue of them."""
    circle = places(name)
    found = [each for each in circle if exists(each)]
    # An older one, which is being emptied, stands right before the newest.
    following = dict(zip(circle, (*circle[1:], circle[0]), strict=True))
    # Where all three are there, a change came amid another one: any of them is read to its end.
    newest = (each for each in found if following[each] not in found)
    return next(newest, found[0] if found else None)
