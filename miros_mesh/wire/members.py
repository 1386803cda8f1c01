"""The nodes that a receiver allows: by which keys it knows them, and what each may send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from miros_mesh.address import topic_matches, validate_routing_pattern
from miros_mesh.errors import (
    BadSignatureError,
    IdentityError,
    NotPermittedError,
    RoutingKeyError,
    UnknownNodeError,
    WrongNodeError,
)
from miros_mesh.wire.envelope import (
    RESERVED_PREFIX,
    Envelope,
    Filed,
    Name,
    NodeStatus,
    Origin,
    RepairMessage,
    RoutedRepair,
    SnoopRecord,
)
from miros_mesh.wire.identity import Author
from miros_mesh.wire.signing import PublicKey

MESH: Final = "mesh"
# What tells how a node is belongs to its trace, as its keys do.
_SNOOP: Final = {"pulse": "snoop_trace"}


class AllowedNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that is allowed, and what it may send; what is left out is not limited."""

    public_keys: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Several while the node's key is changed."""
    topics: tuple[str, ...] | None = None
    """Patterns of routing keys, as a chart hears by."""
    signals: frozenset[str] | None = None
    networks: frozenset[Literal["mesh", "snoop_trace", "snoop_spy"]] | None = None
    may_put_back: bool = False
    """Whether it may send events of other listed nodes again: of who puts back dead letters."""


_decoder = msgspec.json.Decoder(dict[Name, AllowedNode])


class Members:
    """Nodes by their names. Never changed; safe to use from several threads."""

    def __init__(self, nodes: Mapping[str, AllowedNode]) -> None:
        """Raises `IdentityError` for what is no public key or no pattern."""
        self._nodes = dict(nodes)
        self._keys: dict[str, tuple[PublicKey, ...]] = {}
        for name, node in self._nodes.items():
            try:
                self._keys[name] = tuple(map(PublicKey, node.public_keys))
                for pattern in node.topics or ():
                    validate_routing_pattern(pattern)
            except (IdentityError, RoutingKeyError) as error:
                raise IdentityError(f"node {name!r}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Members:
        """Read a JSON object of `AllowedNode` by names; raises `IdentityError`."""
        try:
            return cls(_decoder.decode(text))
        except msgspec.MsgspecError as error:
            raise IdentityError(f"is no list of nodes: {error}") from None

    def only(self, node: str) -> Members:
        """Return the one of that name alone, or none."""
        return Members({name: each for name, each in self._nodes.items() if name == node})

    def has_key(self, node: str, mark: str) -> bool:
        """Whether a node is listed with the key of that mark."""
        return any(key.mark == mark for key in self._keys.get(node, ()))

    def author(self, node: str, content: bytes, signature: bytes) -> Author:
        """Return who has signed; raises `UnknownNodeError` or `BadSignatureError`."""
        if not (keys := self._keys.get(node)):
            raise UnknownNodeError(
                f"a frame signed by the node {node!r}, which is not in allowed_nodes"
            )
        for key in keys:
            if key.has_signed(node, content, signature):
                return Author(node, key.mark)
        raise BadSignatureError(
            f"a frame of the node {node!r} with a signature of another key than allowed_nodes has"
        )

    def check(
        self, author: Author, network: str, topic: str | None, messages: Sequence[Origin]
    ) -> None:
        """Check that an author may send these messages, under a topic unless that is None.

        Raises `WrongNodeError` or `NotPermittedError`. What the library says for a node (hello,
        beat, goodbye, roll, repair without events, letters, notes) is never limited.
        """
        own = self._nodes[author.node]
        for message in messages:
            entry = self._speaks_for(author, network, message)
            if isinstance(message, Envelope):
                if not message.signal.startswith(RESERVED_PREFIX):
                    # What is put back goes to a queue, or where the operator wants it.
                    under = topic if entry is own else None
                    _check_event(author.node, own, entry, under, message)
            elif isinstance(message, RepairMessage):
                self._check_answer(author, own, message)
            elif isinstance(message, Filed):
                self._check_filed(author, own, message)
            elif isinstance(message, (SnoopRecord, NodeStatus)):
                _check_network(author.node, own, _SNOOP.get(network, network))

    def _speaks_for(self, author: Author, network: str, message: Origin) -> AllowedNode:
        """Return the entry of the node that a message is of."""
        entry = self._nodes[author.node]
        # By the mark, no other node can take a place in the streams of this one.
        if message.node == author.node and message.incarnation.endswith(author.mark):
            return entry
        if entry.may_put_back and network == MESH and message.node in self._nodes:
            return self._nodes[message.node]
        raise WrongNodeError(
            f"a frame signed by the node {author.node!r} says to be of {message.node!r}, "
            f"incarnation {message.incarnation!r}"
        )

    def _check_answer(self, author: Author, own: AllowedNode, message: RepairMessage) -> None:
        for destination, event in _answered(message):
            _check_same(message, event)
            if not event.signal.startswith(RESERVED_PREFIX):
                _check_event(author.node, own, own, destination, event)

    def _check_filed(self, author: Author, own: AllowedNode, message: Filed) -> None:
        """Who sorts for a group files what others have sent, which may send it."""
        event = message.event
        if not (sender := self._nodes.get(event.node)):
            raise WrongNodeError(
                f"node {author.node!r} has filed an event of {event.node!r}, which is not in "
                "allowed_nodes"
            )
        _check_event(author.node, own, sender, None, event)


def _answered(message: RepairMessage) -> Iterator[tuple[str | None, Envelope]]:
    """Return the events of an answer, each with its destination, where that is told."""
    # Of nodes that know one for each chart: who asks them has heard it, so it was permitted.
    yield from ((None, event) for event in message.events)
    if isinstance(message, RoutedRepair):
        yield from message.routed


def _check_same(message: RepairMessage, event: Envelope) -> None:
    """An answer has events of its own stream alone."""
    if (event.node, event.incarnation) != (message.node, message.incarnation):
        raise WrongNodeError(
            f"an answer of repair of the node {message.node!r} has an event of {event.node!r}, "
            f"incarnation {event.incarnation!r}"
        )


def _check_event(
    author: str, own: AllowedNode, entry: AllowedNode, topic: str | None, event: Envelope
) -> None:
    _check_network(author, own, MESH)
    if entry.signals is not None and event.signal not in entry.signals:
        raise NotPermittedError(
            f"node {event.node!r} may not send the signal {event.signal!r} (allowed_nodes)"
        )
    if topic is None or own.topics is None:
        return
    if not any(topic_matches(pattern, topic) for pattern in own.topics):
        raise NotPermittedError(
            f"node {author!r} may not send under the topic {topic!r} (allowed_nodes)"
        )


def _check_network(author: str, own: AllowedNode, network: str) -> None:
    if own.networks is not None and network not in own.networks:
        raise NotPermittedError(f"node {author!r} may not send on {network} (allowed_nodes)")
