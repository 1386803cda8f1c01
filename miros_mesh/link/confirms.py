"""Publisher confirms, matched to what was published: all that reaches into py-amqp's channel.

The broker numbers what is published on a channel 1, 2, 3 and so on, and answers by number, in any
order: an ack (stored) or a nack (not stored), for one number or for all up to it. So the parcels
that wait for an answer are kept under the numbers of their publications.

| call          | when                             | what waits afterwards                        |
| ------------- | -------------------------------- | -------------------------------------------- |
| `expect`      | before each publish call         | one parcel more                              |
| `published`   | after each publish call          | the same; none if the transport stores it    |
| `expect_not`  | instead, if it was not made      | the same as before `expect`                  |
| `written`     | likewise, on another thread      | the same, until `stored` on the publisher's  |
| basic_return  | while the connection is read     | the same; its confirm, which follows, says so |
| basic_ack     | likewise                         | without what it covers; `confirmed` is called |
| basic_nack    | likewise                         | without what it covers; `nacked` counts it   |
| `start_over`  | when nothing waits after a nack  | nothing                                      |

What was nacked is not told by parcel: the publisher waits until nothing is on its way, and the
outbox, which still holds all that is unconfirmed, gives it out again in its order.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from miros_mesh.errors import ConfirmTimeoutError
from miros_mesh.link.ports import Parcel

# Sealed bytes end with what makes them whole, and that differs with each sealing.
_END_BYTES: Final = 32


class _Pending(NamedTuple):
    """A publication that waits for its answer. Its bytes are not kept: they may be many."""

    parcel: Parcel
    size_bytes: int
    """Sealed."""
    end: bytes
    """Of the sealed bytes, by which a return is known."""
    since: float
    """When it was published."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A parcel that the broker has stored, wherever a queue matched."""

    parcel: Parcel
    size_bytes: int
    """Sealed."""
    seconds: float
    """From publish to confirm."""
    routed: bool
    """Whether a queue matched."""


class Confirms:
    """Matches the broker's answers to parcels by delivery tag; one object a channel.

    Transports that store before `publish` returns (embedded, memory) confirm by returning. For the
    publisher's thread alone, which also runs the callbacks of the channel.
    """

    def __init__(self, confirmed: Callable[[Confirmed], None]) -> None:
        self._confirmed = confirmed
        # In the order of the tags, of which `_covered` makes use.
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        """By delivery tag."""
        self._tag = 0
        """The tag of the latest publication."""
        self._progress = 0.0
        """When the broker last answered anything, or could not have answered."""
        self.proven = False
        """Whether anything was confirmed on this channel since it was opened or started over."""
        self.nacked = 0
        """How many parcels the broker has nacked since `start_over`."""
        self._unrouted: set[int] = set()
        """The tags of what no queue took, until they are confirmed."""
        self._written = 0
        """The tag of the latest publication whose call has returned."""
        self.asynchronous = False
        """Whether the broker confirms, and a publish call that returns says nothing yet."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def only(self) -> Parcel | None:
        """The parcel on its way, if it is the only one and was written: an error is about it."""
        if len(self._pending) != 1 or self._written != self._tag:
            return None
        return next(iter(self._pending.values())).parcel

    def exchanges(self, *, named_in: str) -> Sequence[str]:
        """Return the exchanges of what is on its way: those that a text names, or else all."""
        every = sorted({each.parcel.exchange for each in self._pending.values()})
        return [each for each in every if f"'{each}'" in named_in] or every

    def watch(self, channel: Any) -> None:
        """Ask for confirms, where the channel gives them, and for what no queue takes."""
        channel.events["basic_return"] = {self._returned}
        # Our own transports have no confirms, and need none.
        if hasattr(channel, "confirm_select"):
            self.asynchronous = True
            channel.confirm_select()
            channel.events["basic_ack"] = {self._acked}
            channel.events["basic_nack"] = {self._nacked}

    def expect(self, parcel: Parcel, body: bytes) -> None:
        """Wait for an answer to the next publication on the channel: this parcel, sealed."""
        # The client counts along: no frame says which number a publication got.
        self._tag += 1
        end = body[-_END_BYTES:]
        self._pending[self._tag] = _Pending(parcel, len(body), end, time.monotonic())

    def expect_not(self) -> None:
        """Wait for none: the latest publication was not made after all, and has no number."""
        del self._pending[self._tag]
        self._tag -= 1

    def published(self) -> None:
        """Note that the publish call has returned."""
        self.written()
        self.stored()

    def written(self) -> None:
        """Note that the publish call has returned, on a thread that is to hear no answer."""
        self._written = self._tag

    def stored(self) -> None:
        """Confirm what was published, if the transport stores it before the call returns."""
        if self._pending and not self.asynchronous:
            self._acked(self._written, multiple=True)

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
            since = next(iter(self._pending.values())).since
            if time.monotonic() - max(since, self._progress) > timeout_s:
                raise ConfirmTimeoutError(f"{where} confirmed nothing for {timeout_s:g} s")

    def _acked(self, tag: int, multiple: bool) -> None:
        self.proven = True
        self._progress = time.monotonic()
        for done in self._covered(tag, multiple):
            parcel, size_bytes, _, since = self._pending.pop(done)
            routed = done not in self._unrouted
            self._unrouted.discard(done)
            self._confirmed(Confirmed(parcel, size_bytes, time.monotonic() - since, routed))

    def _nacked(self, tag: int, multiple: bool) -> None:
        self._progress = time.monotonic()
        for done in self._covered(tag, multiple):
            del self._pending[done]
            self._unrouted.discard(done)
            self.nacked += 1

    def _returned(self, _: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        if not self.asynchronous:
            # Our own transports return it before the publish call does.
            self._unrouted.add(self._tag)
            return
        # What the broker returns it confirms afterwards, so the parcel is still here. By its bytes,
        # since a return carries no number.
        end = message.body[-_END_BYTES:]
        for tag, pending in self._pending.items():
            if pending.size_bytes == len(message.body) and pending.end == end:
                self._unrouted.add(tag)
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
