"""`DeadLetters`: list what was refused, read it, put it back, or drop it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from miros_mesh.address import validate_routing_key
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.settings import MIB, MeshConfig
from miros_mesh.dead_letters.filters import Filters
from miros_mesh.dead_letters.letter import Letter, Place, letter_of
from miros_mesh.dead_letters.places import Found, Places
from miros_mesh.dead_letters.postage import Postage
from miros_mesh.errors import (
    EmptyLetterError,
    FrameError,
    LinkError,
    MeshError,
    SealedLetterError,
    UnknownLetterError,
)
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.mesh import Mesh
from miros_mesh.node.network_specs import MESH, network_of
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import DeadLetter
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.serializer import MsgpackSerializer

MOST_LISTED: Final = 10_000
"""How many letters are looked at; the library keeps 1,000 in each place."""
# Of a node of any settings.
_LARGEST_BYTES: Final = 64 * MIB

Filter: TypeAlias = str | Iterable[str] | float | None
"""One pattern, several of which one has to fit, or a time; None filters nothing."""
_Open: TypeAlias = tuple[Letter, DeadLetter | None]
_Do: TypeAlias = Callable[[Found, Letter, DeadLetter | None], object]


@dataclass(frozen=True)
class Outcome:
    """What became of one of several letters."""

    letter: Letter
    error: MeshError | None = None
    """Why it is still there; None when it was done."""


class DeadLetters:
    """The dead letters at the settings' home broker, and those of this machine's user.

        with DeadLetters() as letters:
            for letter in letters.list(signal="knock"):
                letters.retry(letter)

    Joins no mesh, and connects for each call anew, with the keys that their file holds then; any
    thread may call. While a call looks at the
    letters of a RabbitMQ, another one sees those that are left, and goes without the rest; the
    embedded broker lets it wait. Filters are those of `Filters`. Every call raises the
    `LinkError` that prevents it, and limits each wait for the broker to `confirm_timeout_s`.
    """

    def __init__(self, config: MeshConfig | None = None) -> None:
        """Take the settings, by default those of the environment. Connects to nothing."""
        config = config or MeshConfig.from_env()
        keys = self._keys = KeyRings(config)
        keyring = keys["mesh"]
        self._places = Places(config)
        members = config.members()
        self._codec = letter_codec(keyring, _LARGEST_BYTES, members=members)
        self._postage = Postage(
            keyring,
            config.label,
            config.old_frames,
            # Only where letters are checked: else it would vouch for what anybody has written.
            signer=config.signer() if members else None,
            members=members,
        )
        # It sends nothing: it knows how payloads are read.
        self._mesh = Mesh(
            network_of(MESH, config, keys, Observer()),
            Identity("dead-letters", "dead-letters"),
            config.serializer or MsgpackSerializer(config.payload_types),
            Observer(),
            dedup_window=config.dedup_window,
            payloads=config.payloads,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is still connected; no call is possible afterwards."""
        self._places.close()

    def list(self, **filters: Filter) -> Sequence[Letter]:
        """Return the letters that fit, without contents: the broker's first, the oldest first."""
        wanted = Filters.of(**filters)
        letters: dict[str, Letter] = {}
        with closing(self._walk(*wanted.places)) as found:
            for each in islice(found, MOST_LISTED):
                letter, _ = self._open(each)
                if wanted.has(letter):
                    letters.setdefault(letter.id, letter)
        return tuple(letters.values())

    def find(self, beginning: str) -> Letter:
        """Return the one letter whose id begins so; raises `UnknownLetterError`.

        One that is kept here is found without the broker.
        """
        found = [*self._beginning(beginning, "local")]
        if beginning not in {each.id for each in found}:
            try:
                found += self._beginning(beginning, "broker")
            except LinkError:
                if not found:
                    raise
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(each.id for each in found[:3])
            raise UnknownLetterError(f"{len(found)} letters begin with {beginning!r}: {ids}, ...")
        raise _unknown(beginning)

    def payload(self, letter: Letter, *, typed: bool = True) -> Any:
        """Return the payload of the letter's event, as a handler would get it.

        Where it is not `typed`, one of a declared type is returned in built-in types, which shows
        also what does not fit. Raises `SealedLetterError` without the key, `EmptyLetterError` when
        the letter has no event, `PayloadError` when it cannot be read or does not fit,
        `UnknownLetterError` when it is gone.
        """
        with closing(self._walk(letter.place)) as found:
            for each in found:
                known, opened = self._open(each)
                if known.id == letter.id:
                    return self._payload(known, opened, typed=typed)
        raise _unknown(letter.id)

    def retry(self, letter: Letter, topic: str | None = None) -> None:
        """Publish the letter's event again, and then remove the letter.

        It goes to the chart that refused it and to no other, or to all that listen to `topic`; what
        a broker refused goes to its own topic, at that broker and at no other. The chart takes it
        for a new event of the same sender, whose cause is the old one. A frame that did not open
        goes as it came. With `node_identity` and `allowed_nodes` it is signed by this node, which
        receivers have to allow to put back (`may_put_back`).

        Until the broker has stored it in a queue, the letter stays: nothing is lost, and a second
        copy after a lost connection is dropped as one. Raises `UnroutableError` when no queue takes
        it (the chart's is gone, nothing listens to the topic), `EmptyLetterError` for a note,
        `AddressError` when these settings lead to no such broker, `SealedLetterError` without the
        key, `UnknownLetterError` when it is gone.
        """
        _one(letter, self._each(_is(letter), (letter.place,), self._sender(topic)))

    def drop(self, letter: Letter) -> None:
        """Remove the letter for good; raises `UnknownLetterError` when it is gone already."""
        _one(letter, self._each(_is(letter), (letter.place,), _nothing))

    def retry_all(self, topic: str | None = None, **filters: Filter) -> Iterator[Outcome]:
        """Do what `retry` does with each letter that fits, in one pass, and tell of each at once.

        One that cannot be published is told with its error, and the next one is tried; what is
        refused again meanwhile is not part of it. Do not wait between two: the connection is open.
        """
        wanted = Filters.of(**filters)
        return self._each(wanted.has, wanted.places, self._sender(topic))

    def drop_all(self, **filters: Filter) -> Iterator[Outcome]:
        """Remove each letter that fits, in one pass, and tell of each at once."""
        wanted = Filters.of(**filters)
        return self._each(wanted.has, wanted.places, _nothing)

    def _walk(self, *places: Place) -> Generator[Found, None, None]:
        # The settings may have been made long ago.
        self._keys.look()
        return self._places.walk(*places)

    def _beginning(self, beginning: str, place: Place) -> Iterator[Letter]:
        return (e for e in self.list(place=place) if beginning and e.id.startswith(beginning))

    def _each(
        self, wanted: Callable[[Letter], bool], places: Sequence[Any], do: _Do
    ) -> Iterator[Outcome]:
        done: set[str] = set()
        with closing(self._walk(*places)) as found:
            for each in found:
                letter, opened = self._open(each)
                if not wanted(letter):
                    continue
                try:
                    # A node may have sent a letter twice, after a lost connection.
                    if letter.id not in done:
                        do(each, letter, opened)
                    each.remove()
                except MeshError as error:
                    # The connection is gone, and with it the rest of what it showed. What is kept
                    # here goes to several brokers, of which others may be there.
                    if error.retryable and each.place == "broker":
                        raise
                    yield Outcome(letter, error)
                    continue
                if letter.id not in done:
                    done.add(letter.id)
                    yield Outcome(letter)

    def _sender(self, topic: str | None) -> _Do:
        if topic is not None:
            validate_routing_key(topic)

        def send(found: Found, letter: Letter, opened: DeadLetter | None) -> None:
            if opened is None:
                raise _sealed(letter)
            with found.box(opened.peer) as box:
                self._postage.send(letter, opened, box, topic)

        return send

    def _open(self, found: Found) -> _Open:
        try:
            # One alone is in each frame. What is no letter of ours is shown as one that is sealed.
            (opened,) = self._codec.open(found.sealed)
        except (FrameError, ValueError):
            return letter_of(found.sealed, found.place, None), None
        return letter_of(found.sealed, found.place, opened), opened

    def _payload(self, letter: Letter, opened: DeadLetter | None, *, typed: bool) -> Any:
        if opened is None:
            raise _sealed(letter)
        if opened.event is None:
            raise EmptyLetterError(f"letter {letter.id} has no event that could be read")
        return self._mesh.payload_of(opened.event, typed=typed)


def _is(letter: Letter) -> Callable[[Letter], bool]:
    return lambda known: known.id == letter.id


def _nothing(*_: object) -> None:
    """What is done with a letter that is only removed."""


def _one(letter: Letter, outcomes: Iterator[Outcome]) -> None:
    # To the end, since a second copy of the letter may follow.
    told = tuple(outcomes)
    if not told:
        raise _unknown(letter.id)
    if told[0].error:
        raise told[0].error


def _unknown(letter: str) -> UnknownLetterError:
    return UnknownLetterError(
        f"no dead letter {letter!r}: it was put back, dropped or pushed out, or another program "
        "looks at it just now"
    )


def _sealed(letter: Letter) -> SealedLetterError:
    return SealedLetterError(
        f"no key of these settings opens letter {letter.id}, or allowed_nodes has not the node "
        "that wrote it; give the mesh_encryption_key that its node has"
    )
