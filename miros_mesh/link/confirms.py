"""Publisher confirms, matched to what was published: all that reaches into py-amqp's channel.

The broker numbers what is published on a channel 1, 2, 3 and so on, and answers by number, in any
order: an ack (stored) or a nack (not stored), for one number or for all up to it. So the parcels
that wait for an answer are kept under the numbers of their publications.

| call          | when                             | what waits afterwards                        |
| ------------- | -------------------------------- | -------------------------------------------- |
| `expect`      | before each publish call         | one parcel more                              |
| `published`   | after each publish call          | the same; none if the transport stores it    |
| basic_ack     | while the connection is read     | without what it covers; `confirmed` is called |
| basic_nack    | likewise                         | without what it covers; `nacked` counts it   |
| `start_over`  | when nothing waits after a nack  | nothing                                      |

What was nacked is not told by parcel: the publisher waits until nothing is on its way, and the
outbox, which still holds all that is unconfirmed, gives it out again in its order.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from miros_mesh.errors import ConfirmTimeoutError
from miros_mesh.link.ports import Parcel


class Confirms:
    """Matches the broker's answers to parcels by delivery tag; one object a channel.

    Transports that store before `publish` returns (embedded, memory) confirm by returning. For the
    publisher's thread alone, which also runs the callbacks of the channel.
    """

    def __init__(
        self,
        confirmed: Callable[[Parcel, int, float], None],
        unroutable: Callable[[Parcel], None],
    ) -> None:
        self._confirmed = confirmed
        self._unroutable = unroutable
        # In the order of the tags, of which `_covered` makes use.
        self._pending: OrderedDict[int, tuple[Parcel, int, float]] = OrderedDict()
        """By delivery tag: the parcel, its sealed size in bytes, and when it was published."""
        self._tag = 0
        """The tag of the latest publication."""
        self._progress = 0.0
        """When the broker last answered anything, or could not have answered."""
        self.proven = False
        """Whether anything was confirmed on this channel since it was opened or started over."""
        self.nacked = 0
        """How many parcels the broker has nacked since `start_over`."""
        self._asynchronous = False

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def asynchronous(self) -> bool:
        """Whether confirms come later than `publish` returns."""
        return self._asynchronous

    def watch(self, channel: Any) -> None:
        """Ask for confirms, and for what no queue takes, where the channel gives them."""
        # Our own transports have none, and need none.
        if not hasattr(channel, "confirm_select"):
            return
        self._asynchronous = True
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(self._returned)

    def expect(self, parcel: Parcel, size_bytes: int) -> None:
        """Wait for an answer to the next publication on the channel, which is this parcel."""
        # The client counts along: no frame says which number a publication got.
        self._tag += 1
        self._pending[self._tag] = (parcel, size_bytes, time.monotonic())

    def published(self) -> None:
        """Note that the publish call has returned."""
        if not self._asynchronous:
            self._acked(self._tag, multiple=False)

    def wait_anew(self) -> None:
        """Count the confirm time-out from now: until now the broker could not confirm."""
        self._progress = time.monotonic()

    def start_over(self) -> None:
        """Forget the nacks, once everything was answered; the channel has to prove itself again."""
        self.nacked = 0
        self.proven = False

    def check(self, timeout_s: float, where: str) -> None:
        """Raise `ConfirmTimeoutError` when the oldest waits, and nothing came, for `timeout_s`."""
        # The oldest alone: RabbitMQ may confirm in any order, but a broker that has answered
        # anything within the time is alive, however much it still owes.
        if self._pending:
            _, _, since = next(iter(self._pending.values()))
            if time.monotonic() - max(since, self._progress) > timeout_s:
                raise ConfirmTimeoutError(f"{where} confirmed nothing for {timeout_s:g} s")

    def _acked(self, tag: int, multiple: bool) -> None:
        self.proven = True
        self._progress = time.monotonic()
        for done in self._covered(tag, multiple):
            parcel, size_bytes, since = self._pending.pop(done)
            self._confirmed(parcel, size_bytes, time.monotonic() - since)

    def _nacked(self, tag: int, multiple: bool) -> None:
        self._progress = time.monotonic()
        for done in self._covered(tag, multiple):
            del self._pending[done]
            self.nacked += 1

    def _returned(self, _: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        # What the broker returns it confirms afterwards, so the parcel is still here. By its bytes,
        # since a return carries no number; sealed bytes are random, so no two are equal.
        for parcel, _size_bytes, _since in self._pending.values():
            if parcel.seal() == message.body:
                self._unroutable(parcel)
                return

    def _covered(self, tag: int, multiple: bool) -> list[int]:
        # An answer for all up to a tag may come after single ones, and cover nothing new.
        if not multiple:
            return [tag] if tag in self._pending else []
        covered = []
        for pending in self._pending:
            # All further ones are larger.
            if pending > tag:
                break
            covered.append(pending)
        return covered
