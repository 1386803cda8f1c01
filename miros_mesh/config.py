"""The settings of a node: one frozen value, checked whole when it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, runtime_checkable

from miros_mesh import validation
from miros_mesh.address import BrokerAddress
from miros_mesh.environment import default_home, expanded, merge, read_environment
from miros_mesh.errors import ConfigError
from miros_mesh.observer import Observer
from miros_mesh.validation import bounded

Mode: TypeAlias = Literal["embedded", "ancestor", "shared"]
NetworkName: TypeAlias = Literal["mesh", "snoop_trace", "snoop_spy"]
EncryptionKeys: TypeAlias = bytes | str | tuple[bytes | str, ...] | None

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY_S: Final = 86_400.0


@runtime_checkable
class PayloadSerializer(Protocol):
    """Turns an event's payload into bytes and back. Hashable, and safe to call from any thread."""

    @property
    def name(self) -> str:
        """Which serializer this is; the nodes of a mesh use the same one."""

    def dumps(self, payload: Any) -> bytes:
        """Encode a payload."""

    def loads(self, data: bytes) -> Any:
        """Decode what `dumps` made; bytes from a stranger must be safe to read."""


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Every setting of a node, with defaults that work.

    Neither a broker URL nor a RabbitMQ user given: the embedded broker of this machine.
    """

    broker_url: str | tuple[str, ...] | None = field(default=None, repr=False, compare=False)
    """A shared broker: an AMQP URL, or several for fail-over (a tuple, or split by a comma)."""
    rabbit_user: str | None = None
    """A broker per host: the user, with `rabbit_password`; excludes `broker_url`."""
    rabbit_password: str | None = field(default=None, repr=False)
    """The password of `rabbit_user`."""
    rabbit_host: str = "127.0.0.1"
    """Where the broker of `rabbit_user` is."""
    rabbit_port: int = bounded(5672, 1, 65_535)
    """The AMQP port of that broker, without TLS."""
    rabbit_virtual_host: str = "/"
    """The virtual host of that broker."""

    mesh_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """Fernet key or keys: the first encrypts, all decrypt. The embedded broker needs none given."""
    snoop_trace_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """As `mesh_encryption_key`, which is the default."""
    snoop_spy_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """As `mesh_encryption_key`, which is the default."""

    node_name: str | None = None
    """A lasting name of this process on the mesh: letters, digits, `.`, `_`, `-`."""
    home: Path | None = None
    """The embedded broker's folder; `home_folder` says what the default is."""

    heartbeat_interval_s: float = bounded(5.0, 1, 65_535)
    """A broker silent for about twice as long is given up."""
    connect_timeout_s: float = bounded(5.0, 0.05, 600)
    """How long one attempt to connect may take."""
    connection_attempts: int = bounded(3, 1, 1_000_000)
    """How often a first connection is tried before its failure is told."""
    confirm_timeout_s: float = bounded(10.0, 0.05, 3600)
    """An unconfirmed frame is published again after this time."""
    confirm_window: int = bounded(100, 1, 65_535)
    """How many frames may be on their way to a broker without their confirm."""
    drain_timeout_s: float = bounded(5.0, 0, 3600)
    """How long `stop` lets a chart finish what it has begun; then the outbox may take as long."""
    queue_expires_s: float = bounded(120.0, 1, 40 * DAY_S)
    """The broker removes a queue that nobody has consumed from for this long."""

    prefetch_frames: int = bounded(200, 1, 65_535)
    """How many frames a broker may send ahead of their acknowledgement."""
    outbox_events: int = bounded(100_000, 1, 100_000_000)
    """How many events wait for one peer at most."""
    outbox_bytes: int = bounded(64 * MIB, KIB, 64 * 1024 * MIB)
    """How many bytes of events wait for one peer at most."""
    frame_events: int = bounded(100, 1, 100_000)
    """How many events of a backlog are packed into one frame."""
    frame_bytes: int = bounded(256 * KIB, 1, 64 * MIB)
    """How many bytes of a backlog are packed into one frame; a larger event travels alone."""
    max_event_bytes: int = bounded(MIB, 1, 64 * MIB)
    """The largest encoded event that `transmit` takes."""
    dedup_window: int = bounded(16_384, 1, 10_000_000)
    """How many of a sender's last events are remembered, to drop duplicates."""

    repair_timeout_s: float = bounded(10.0, 0, 3600)
    """How long events wait for earlier ones of their sender, which are asked for again."""
    repair_events: int = bounded(20_000, 0, 10_000_000)
    """How many events that were sent are kept for receivers that ask for them again."""
    repair_bytes: int = bounded(16 * MIB, 0, 64 * 1024 * MIB)
    """How many bytes of them."""

    serializer: PayloadSerializer | None = None
    """How payloads become bytes; the built-in one carries JSON types, bytes and datetimes."""
    observers: tuple[Observer, ...] = ()
    """Who is told what the node does."""
    link_factory: Callable[[Any], Any] | None = None
    """Makes the node's `Link` (see `link.ports`) from its `LinkSettings`; None: by `mode`."""

    brokers: tuple[BrokerAddress, ...] = field(default=(), init=False)
    """The brokers that the settings name; none when embedded."""

    def __post_init__(self) -> None:
        self._normalise()
        brokers, problems = self._read_brokers()
        object.__setattr__(self, "brokers", brokers)
        problems = [*self._value_problems(), *problems, *self._combination_problems()]
        if problems:
            raise ConfigError(tuple(problems))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **overrides: Any) -> MeshConfig:
        """Read `MIROS_MESH_*` and the ancestor's variables; overrides that are not None win."""
        given = {name: value for name, value in overrides.items() if value is not None}
        found = read_environment(environ, _scalar_defaults(cls), given)
        try:
            config = cls(**merge(found.ancestor, found.mesh, given))
        except ConfigError as error:
            found.problems += found.told_by_variable(error.problems)
        if found.problems:
            raise ConfigError(tuple(found.problems))
        return config

    def overridden(self, **overrides: Any) -> MeshConfig:
        """Return the same settings but for the overrides that are not None."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        given = {name: value for name, value in overrides.items() if value is not None}
        return type(self)(**merge(own, given))

    @property
    def mode(self) -> Mode:
        """Which of the three ways to run the settings choose."""
        if self.broker_url is not None:
            return "shared"
        return "embedded" if self.rabbit_user is None else "ancestor"

    @property
    def home_folder(self) -> Path:
        """`home`, else by `$MIROS_MESH_HOME`, `$XDG_STATE_HOME` or `~/.local/state/miros_mesh`."""
        return expanded(self.home or default_home(os.environ))

    def keys_for(self, network: NetworkName) -> tuple[bytes, ...] | None:
        """Return the keys of a network, primary first; None when no key was given."""
        own = getattr(self, f"{network}_encryption_key")
        return cast("tuple[bytes, ...] | None", own or self.mesh_encryption_key)

    def _normalise(self) -> None:
        """Give equal settings one form, so that they compare equal."""
        for setting, normal in _NORMAL_FORMS.items():
            object.__setattr__(self, setting, normal(getattr(self, setting)))

    def _read_brokers(self) -> tuple[tuple[BrokerAddress, ...], list[str]]:
        if self.broker_url is not None:
            return validation.parse_urls("broker_url", self.broker_url)
        if self.rabbit_user is None:
            return (), []
        return validation.ancestor_broker(
            host=self.rabbit_host,
            port=self.rabbit_port,
            virtual_host=self.rabbit_virtual_host,
            user=self.rabbit_user,
            password=self.rabbit_password or "",
        )

    def _value_problems(self) -> Iterator[str]:
        for known in fields(self):
            value = getattr(self, known.name)
            if "range" in known.metadata:
                yield from validation.number_problems(known, value)
            elif known.name in _CHECKS:
                yield from _CHECKS[known.name](known.name, value)

    def _combination_problems(self) -> Iterator[str]:
        shared, user = self.broker_url is not None, self.rabbit_user is not None
        password = self.rabbit_password is not None
        if shared and (user or password):
            yield _TWO_BROKERS
        elif user != password:
            given, missing = "rabbit_user", "rabbit_password"
            given, missing = (given, missing) if user else (missing, given)
            yield f"{given} is given without {missing}; a broker needs both"
        if (shared or user) and self.mesh_encryption_key is None:
            yield _KEY_MISSING
        if validation.exceeds(self.max_event_bytes, self.outbox_bytes):
            yield "max_event_bytes is larger than outbox_bytes; the largest event would never fit"


_TWO_BROKERS: Final = (
    "broker_url excludes rabbit_user and rabbit_password: keep broker_url for a shared broker, "
    "or rabbit_user and rabbit_password for a broker on each host"
)
_KEY_MISSING: Final = (
    f"mesh_encryption_key is missing: nodes that meet at a broker share a key; {validation.KEYGEN}"
)


def _serializer_problems(setting: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, PayloadSerializer):
        yield f"{setting} must have a name, dumps(payload) and loads(data)"
    elif not isinstance(value, Hashable):
        yield f"{setting} must be hashable: charts share a node if their settings are equal"


def _observers_problems(setting: str, value: Any) -> Iterator[str]:
    if not isinstance(value, tuple) or not all(isinstance(each, Observer) for each in value):
        yield f"{setting} must be a tuple of Observer instances"
    elif not all(isinstance(each, Hashable) for each in value):
        yield f"{setting} must be hashable: charts share a node if their settings are equal"


def _link_factory_problems(setting: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if not callable(value):
        yield f"{setting} must be callable: it makes the node's Link from its LinkSettings"
    elif not isinstance(value, Hashable):
        yield f"{setting} must be hashable: charts share a node if their settings are equal"


_NORMAL_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "broker_url": validation.as_urls,
    "mesh_encryption_key": validation.as_keys,
    "snoop_trace_encryption_key": validation.as_keys,
    "snoop_spy_encryption_key": validation.as_keys,
    "home": validation.as_home,
    "observers": validation.as_tuple,
}
_CHECKS: Final[Mapping[str, Callable[[str, Any], Iterator[str]]]] = {
    "rabbit_user": validation.optional_text_problems,
    "rabbit_password": validation.optional_text_problems,
    "rabbit_host": validation.text_problems,
    "rabbit_virtual_host": validation.text_problems,
    "mesh_encryption_key": validation.key_problems,
    "snoop_trace_encryption_key": validation.key_problems,
    "snoop_spy_encryption_key": validation.key_problems,
    "node_name": validation.node_name_problems,
    "home": validation.home_problems,
    "serializer": _serializer_problems,
    "observers": _observers_problems,
    "link_factory": _link_factory_problems,
}


def _scalar_defaults(settings: type[MeshConfig]) -> dict[str, Any]:
    """Every setting that a variable can hold, with its default."""
    objects = {"serializer", "observers", "link_factory"}
    return {f.name: f.default for f in fields(settings) if f.init and f.name not in objects}
