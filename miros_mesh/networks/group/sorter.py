"""The sorter: the active member of a group files each event by its key, in order.

| an event | is | and acknowledged to the group's queue |
| --- | --- | --- |
| that is in its partition's queue | done | then |
| for which the broker has no room, or no queue | filed again after a pause | not yet |
| that the broker refuses, alone | set aside | once the letter is kept |
| whose key cannot be had | set aside, `partition_by` | likewise |

Of each partition one frame is on its way at a time: none overtakes another one. A sorter that ends
between the two leaves a copy to the next one, which who handles the partition knows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from miros_mesh.errors import MeshError
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.group.partitions import PARTITIONS, partition_of
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread

logger = logger_of(__name__)

MOST_IN_HAND: Final = 1_000
# Where a broker had no room for a frame, or no queue.
_PAUSE_S: Final = 0.5


@dataclass(eq=False, slots=True)
class _Item:
    """An event on its way to its partition."""

    arrival: Arrival
    message: bytes
    done: bool = False


@dataclass(eq=False)
class _Lane:
    """A partition: what waits for it, and the frame that is on its way to it."""

    number: int
    waiting: deque[_Item] = field(default_factory=deque)
    sent: list[_Item] = field(default_factory=list)
    number_sent: int = 0
    """Of frames: what is told of an earlier one is of no use. A confirm may come twice."""
    again_at: float = 0.0
    singly: int = 0
    """So many are to be sent alone: the broker has refused a frame of them."""


class Sorter:
    """Files what it is posted. `key` says what an event is about, `encode` makes a message of it.

    `file` packs as many messages as fit into a frame for a partition, and returns how many; what
    becomes of it is told later.
    """

    def __init__(
        self,
        name: str,
        *,
        key: Callable[[Arrival], object],
        encode: Callable[[Arrival], bytes],
        file: Callable[[int, Sequence[bytes], Callable[[Settled], object]], int],
    ) -> None:
        self._key, self._encode, self._file = key, encode, file
        self.feed: Callable[[], object] = lambda: None
        """Called when events are done, so that more may come; set before `start`."""
        self._lanes = [_Lane(number) for number in range(PARTITIONS)]
        self._filing: deque[_Item] = deque()
        """In the order in which they came. Both are for the sorter's thread alone."""
        # Any thread appends, the sorter's takes: both are single steps of a deque.
        self._posted: deque[Arrival] = deque()
        self._outcomes: deque[tuple[_Lane, int, Settled]] = deque()
        self._in_hand = 0
        self._ending = False
        # Guards that number, and tells of its end.
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._thread = OwnedThread(name, self._run, self._wake.set)

    def room(self) -> int:
        """Return how many events it takes now."""
        return 0 if self._ending else MOST_IN_HAND - self._in_hand

    def post(self, arrival: Arrival) -> None:
        """Take an event that has to be filed."""
        with self._changed:
            self._in_hand += 1
        self._posted.append(arrival)
        self._wake.set()

    def start(self) -> None:
        """Begin with what was posted until now."""
        self._thread.start()

    def stop(self, drain_s: float, join_s: float) -> None:
        """File what is in hand, for so long at most, and end; the rest comes to the next sorter."""
        self._ending = True
        if self._thread.alive:
            with self._changed:
                self._changed.wait_for(lambda: not self._in_hand, drain_s)
        self._thread.stop(join_s)

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            self._wake.wait(self._due())
            self._wake.clear()
            try:
                self._turn()
            except Exception:
                # Without this thread the group would stand still, as long as its member lives.
                logger.exception("%s: an error of the library; it goes on", self._thread.name)

    def _turn(self) -> None:
        while self._outcomes:
            self._settle(*self._outcomes.popleft())
        while self._posted:
            self._sort(self._posted.popleft())
        for lane in self._lanes:
            if lane.waiting and not lane.sent and time.monotonic() >= lane.again_at:
                self._send(lane)

    def _due(self) -> float | None:
        pauses = [lane.again_at for lane in self._lanes if lane.waiting and not lane.sent]
        return max(min(pauses) - time.monotonic(), 0) if pauses else None

    def _sort(self, arrival: Arrival) -> None:
        try:
            number = partition_of(self._key(arrival))
        except Exception as error:  # noqa: BLE001 - whatever a function of the program raises
            # What ours say is of the type of a key; another text may quote the payload.
            detail = str(error) if isinstance(error, MeshError) else type(error).__name__
            self._set_aside(arrival, Reason("partition_by", detail))
            return
        try:
            item = _Item(arrival, self._encode(arrival))
        except MeshError as error:
            self._set_aside(arrival, Reason("payload", str(error)))
            return
        self._lanes[number].waiting.append(item)
        self._filing.append(item)

    def _send(self, lane: _Lane) -> None:
        amount = 1 if lane.singly else len(lane.waiting)
        messages = [each.message for each in list(lane.waiting)[:amount]]
        lane.number_sent += 1
        told = partial(self._told, lane, lane.number_sent)
        taken = self._file(lane.number, messages, told)
        lane.sent = [lane.waiting.popleft() for _ in range(taken)]
        lane.again_at = 0.0 if taken else time.monotonic() + _PAUSE_S

    def _told(self, lane: _Lane, number: int, outcome: Settled) -> None:
        # On a publisher's thread, and perhaps before `file` has returned.
        self._outcomes.append((lane, number, outcome))
        self._wake.set()

    def _settle(self, lane: _Lane, number: int, outcome: Settled) -> None:
        if number != lane.number_sent or not lane.sent:
            return
        sent, lane.sent = lane.sent, []
        lane.singly = max(lane.singly - 1, 0)
        if outcome == "stored":
            for each in sent:
                each.done = True
            self._finish()
        elif outcome == "refused" and len(sent) == 1:
            self._filing.remove(sent[0])
            refused = Reason("unfiled", "the broker refuses it in the queue of its partition")
            self._set_aside(sent[0].arrival, refused)
            self._finish()
        else:
            lane.waiting.extendleft(reversed(sent))
            if outcome == "refused":
                lane.singly = len(sent)
            else:
                lane.again_at = time.monotonic() + _PAUSE_S

    def _finish(self) -> None:
        """Finish what is filed, up to the first that is not.

        Were a later one acknowledged before, the next sorter would miss it, and have it sent again.
        """
        finished = 0
        while self._filing and self._filing[0].done:
            arrival = self._filing.popleft().arrival
            arrival.inbox.finished(arrival)
            finished += 1
        self._done(finished)

    def _set_aside(self, arrival: Arrival, reason: Reason) -> None:
        arrival.inbox.set_aside(arrival, reason)
        self._done(1)

    def _done(self, events: int) -> None:
        with self._changed:
            self._in_hand -= events
            if not self._in_hand:
                self._changed.notify_all()
        self.feed()
