"""What a declaration says of an exchange or a queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from amqp.exceptions import PreconditionFailed


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a declaration asks for; a second declaration must ask for the same."""

    durable: bool = False
    auto_delete: bool = False
    exclusive: bool = False
    arguments: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps(vars(self) | {"arguments": dict(self.arguments)}, sort_keys=True)


# One file keeps all queues, a queue has one consumer at a time, and brings a message back for ever.
_IMPLIED = frozenset({"x-queue-type", "x-single-active-consumer", "x-delivery-limit"})


@dataclass(frozen=True)
class Limits:
    """The queue arguments that the embedded broker heeds."""

    expires_s: float | None = None
    max_length: int | None = None
    max_bytes: int | None = None
    ttl_s: float | None = None
    dead_letters: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, object]) -> Limits:
        """Read them, and refuse those whose neglect would be a silent breach of a promise."""
        given = {name: value for name, value in arguments.items() if name not in _IMPLIED}
        expires_ms = _number(given.pop("x-expires", None), "x-expires", 1)
        ttl_ms = _number(given.pop("x-message-ttl", None), "x-message-ttl", 0)
        limits = cls(
            expires_s=None if expires_ms is None else expires_ms / 1000,
            max_length=_number(given.pop("x-max-length", None), "x-max-length", 0),
            max_bytes=_number(given.pop("x-max-length-bytes", None), "x-max-length-bytes", 0),
            ttl_s=None if ttl_ms is None else ttl_ms / 1000,
            dead_letters=_name(given.pop("x-dead-letter-exchange", None), "x-dead-letter-exchange"),
        )
        if given.pop("x-overflow", "drop-head") != "drop-head":
            raise PreconditionFailed("PRECONDITION_FAILED - x-overflow can only be drop-head here")
        if given:
            names = ", ".join(sorted(given))
            raise PreconditionFailed(f"PRECONDITION_FAILED - the embedded broker has no {names}")
        if limits.dead_letters is not None and limits.drops:
            raise PreconditionFailed(
                "PRECONDITION_FAILED - a queue with dead letters has no limits here: "
                "only what is rejected goes there"
            )
        return limits

    @property
    def drops(self) -> bool:
        """Whether messages can go without anybody's word."""
        return not self.max_length is self.max_bytes is self.ttl_s is None


class QueueState(NamedTuple):
    """A queue as a declaration reports it."""

    name: str
    messages: int
    consumers: int


def _name(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PreconditionFailed(f"PRECONDITION_FAILED - {name} must be a text")
    return value


def _number(value: object, name: str, least: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PreconditionFailed(f"PRECONDITION_FAILED - {name} must be a number from {least}")
    return value
