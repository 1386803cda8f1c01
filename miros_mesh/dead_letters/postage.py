"""What of a dead letter is published again, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from miros_mesh.config.settings import MIB
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import EmptyLetterError, FrameError, SealedLetterError, UnroutableError
from miros_mesh.link.ports import LetterBox
from miros_mesh.networks.letters.home import RETRY as RETRY_EXCHANGE
from miros_mesh.networks.network import DIRECT, EXCHANGE_PREFIX, exchange_of
from miros_mesh.text import printable
from miros_mesh.wire.codec import Codec, OldFrames
from miros_mesh.wire.envelope import (
    SENT_AGAIN,
    DeadLetter,
    Envelope,
    RoutedEnvelope,
    TracedEnvelope,
    kept,
)
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.members import Members
from miros_mesh.wire.signing import Signer

# Of any settings: whether it is too large for a chart is for that chart to say.
_LARGEST_BYTES: Final = 128 * MIB
_MESH: Final = exchange_of("mesh")
_OF_CHARTS: Final = f"{_MESH}.", f"{exchange_of('group')}."
RETRY: Final = "retry-"


class Postage:
    """Publishes the contents of dead letters again, sealed with the primary key."""

    def __init__(
        self,
        keyring: KeyRing,
        label: str,
        old_frames: OldFrames,
        *,
        signer: Signer | None = None,
        members: Members | None = None,
    ) -> None:
        self._codec = Codec(
            "mesh",
            keyring,
            Envelope,
            max_frame_bytes=_LARGEST_BYTES,
            extended=(TracedEnvelope, RoutedEnvelope),
            label=label,
            old_frames=old_frames,
            signer=signer,
            members=members,
        )

    def send(self, letter: Letter, opened: DeadLetter, box: LetterBox, topic: str | None) -> None:
        """Publish to the topic, else to the chart that refused it, else to its own topic.

        Returns when the broker has stored it in a queue at least. Raises `EmptyLetterError` for a
        note, `SealedLetterError` for a frame that these keys do not open, `UnroutableError` when no
        queue takes it, or what the broker says against it.
        """
        if not (opened.event or opened.frame):
            raise EmptyLetterError(
                f"letter {letter.id} is a note of {opened.size_bytes:,} bytes that were too large "
                "to keep; let its sender send it again, or drop the letter"
            )
        if topic is None and opened.queue:
            _put_back(opened, box, partial(self._body, letter, opened))
            return
        if not (to := topic or opened.routing_key):
            raise UnroutableError(
                f"letter {letter.id} has no topic of its own; give one (topic=, or --to)"
            )
        exchange = _exchange_of(opened)
        if topic is not None:
            # For all that hear it, also when it was for one chart.
            exchange = _MESH if exchange == DIRECT else exchange
            opened = replace(opened, event=_for_all(opened.event))
        box.put(exchange, to, self._body(letter, opened, to))

    def _body(self, letter: Letter, opened: DeadLetter, topic: str) -> bytes:
        if event := opened.event:
            # A stream of its own: under its old number it might be taken for a copy, and what lies
            # between for missing. The same one at each try, so that a second copy of this letter,
            # which a lost connection may make, is known for one. Of what no chart has refused, the
            # chart that has it already is told to look.
            kind = RETRY if opened.queue else SENT_AGAIN
            new = replace(
                _for_good(event), incarnation=f"{kind}{letter.id}", sequence=1, cause=event.id
            )
            return self._codec.seal([self._codec.encode(new)], topic)
        # A frame, anew: receivers refuse what was sealed for another topic, or long ago.
        try:
            # First, or what is not signed by an allowed node would be signed here.
            self._codec.open(opened.frame)
            return self._codec.seal(self._codec.unseal(opened.frame), topic)
        except FrameError as error:
            raise SealedLetterError(
                f"the frame in letter {letter.id} cannot be opened with these settings ({error}); "
                "give them the key with which its chart opens it, or drop the letter"
            ) from None


def _for_good(event: Envelope) -> Envelope:
    """Return an event as it is put back: who does that wants it handled, however old it is."""
    event = kept(event)
    return kept(replace(event, ttl_s=None)) if isinstance(event, RoutedEnvelope) else event


def _for_all(event: Envelope | None) -> Envelope | None:
    return replace(event, to="") if isinstance(event, RoutedEnvelope) else event


def _put_back(opened: DeadLetter, box: LetterBox, seal: Callable[[str], bytes]) -> None:
    if not opened.queue.startswith(_OF_CHARTS):
        # A letter says where something is published: into no queue of another program.
        raise UnroutableError(
            f"the queue {printable(opened.queue)} is no chart's; give a topic to "
            "send it to (topic=, or retry --to TOPIC), or drop the letter"
        )
    try:
        box.put_into(opened.queue, seal, exchange=RETRY_EXCHANGE)
    except UnroutableError as error:
        raise UnroutableError(
            f"the queue of chart {opened.chart} of node {opened.node} is gone; "
            f"give a topic to send it to instead (topic=, or retry --to TOPIC): {error}"
        ) from error


def _exchange_of(opened: DeadLetter) -> str:
    # Of a frame that did not open the network is known by its exchange alone. No name but ours: a
    # letter says where something is published.
    return opened.exchange if opened.exchange.startswith(EXCHANGE_PREFIX) else _MESH
