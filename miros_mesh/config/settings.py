"""The settings of a node: one frozen value, checked whole when it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from miros_mesh.address import DEFAULT_PORTS, BrokerAddress, Scheme
from miros_mesh.config import env_file as env_files
from miros_mesh.config import members, validation
from miros_mesh.config.environment import default_home, expanded, merge, read_environment
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.validation import bounded
from miros_mesh.errors import ConfigError, SecretFileError
from miros_mesh.observer import Observer
from miros_mesh.timing.clock import Clock
from miros_mesh.wire.ciphers import Cipher
from miros_mesh.wire.codec import OldFrames
from miros_mesh.wire.members import Members
from miros_mesh.wire.payload_forms import PayloadTypes
from miros_mesh.wire.serializer import PayloadSerializer
from miros_mesh.wire.signing import Signer

Mode: TypeAlias = Literal["embedded", "ancestor", "shared"]
NetworkName: TypeAlias = Literal["mesh", "snoop_trace", "snoop_spy"]
"""Events, transitions of charts, and every step of their event processors: keys apart."""
DiscoverySource: TypeAlias = Literal["manual", "lan", "dns"]
"""Where brokers are found: files of hosts, the local network, or a name server."""
Durability: TypeAlias = Literal["process", "power"]
AlienPolicy: TypeAlias = Literal["adopt", "probe", "ignore"]
"""Whether a broker that an unknown node names is used, only looked at, or passed over."""
Ancestors: TypeAlias = Literal["off", "hear", "both"]
FirstSearchWait: TypeAlias = Literal["hold", "skip", "block"]
EncryptionKeys: TypeAlias = bytes | str | tuple[bytes | str, ...] | SecretFile | None
"""One Fernet key, or several (a tuple, or split by a comma), or the file that holds them."""

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY_S: Final = 86_400.0
ANCESTORS_SOURCES: Final[tuple[DiscoverySource, ...]] = ("manual", "lan")


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Every setting of a node, with defaults that work.

    Neither a broker URL nor a RabbitMQ user given: the embedded broker of this machine.
    """

    # Not compared: `_broker` is, so that two spellings of one URL are equal. Not shown: it may hold
    # a password, which `BrokerAddress` hides.
    broker_url: str | SecretFile | tuple[str, ...] | None = field(
        default=None, repr=False, compare=False
    )
    """A shared broker: an AMQP URL, or several for fail-over (a tuple, or split by a comma)."""
    rabbit_user: str | None = None
    """A broker per host: the user, with `rabbit_password`; excludes `broker_url`."""
    rabbit_password: str | SecretFile | None = field(default=None, repr=False)
    """The password of `rabbit_user`."""
    rabbit_host: str = "127.0.0.1"
    """Where the broker of `rabbit_user` is."""
    rabbit_port: int | None = bounded(None, 1, 65_535)
    """The port of that broker, and of those that are looked for: 5672 unless set; with TLS 5671."""
    rabbit_virtual_host: str = "/"
    """The virtual host of that broker."""
    rabbit_tls: bool = False
    """Whether that broker and those that are found are reached by TLS, and never without."""
    broker_ca_file: Path | None = None
    """The authorities whose certificates of brokers count (PEM); default: those of the system."""
    broker_cert_file: Path | None = None
    """The certificate that the node shows over TLS (PEM); says the user where the URL has none."""
    broker_key_file: Path | None = None
    """The key of `broker_cert_file`, open to no other user; default: it is in the same file."""

    mesh_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """Fernet keys: the first encrypts, all decrypt. The embedded broker needs none given."""
    snoop_trace_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """As `mesh_encryption_key`, which is the default."""
    snoop_spy_encryption_key: EncryptionKeys = field(default=None, repr=False)
    """As `mesh_encryption_key`, which is the default."""

    mesh_label: str | None = None
    """Tells meshes apart that share keys; default: the virtual host, `embedded` without broker."""
    replay_window_s: float = bounded(600.0, 1, 40 * DAY_S)
    """How much older than the newest one a frame may be that a queue brings."""
    clock_error_s: float = bounded(30.0, 1, DAY_S)
    """By how much the clocks of two hosts may differ; frames of a host beyond that are refused."""
    old_frames: OldFrames = "refuse"
    """For an upgrade from 0.1: first `write` on all nodes, then `read`, then nothing."""
    cipher: Cipher = "aes-gcm"
    """What seals frames; `fernet` while a node is older than this setting. Both are opened."""
    ancestors: Ancestors = "off"
    """Whether nodes of miros-rabbitmq are heard (`hear`), and hear this one, too (`both`)."""

    node_name: str | None = None
    """A lasting name of this process on the mesh: letters, digits, `.`, `_`, `-`."""
    node_identity: bytes | str | SecretFile | None = field(default=None, repr=False)
    """The node's own Ed25519 private key: signs all that it sends; needs `node_name`."""
    allowed_nodes: Mapping[str, Any] | str | Path | None = field(default=None, repr=False)
    """Hear only these: names, with public keys and limits; a mapping, JSON, or a file's path."""
    home: Path | None = None
    """The embedded broker's folder; `home_folder` says what the default is."""

    durability: Durability = "process"
    """What a confirm of the embedded broker outlives: the end of any `process`, or of `power`."""

    # AMQP carries the heartbeat in whole seconds of 16 bits (connection.tune).
    heartbeat_interval_s: float = bounded(5.0, 1, 65_535)
    """A connection to a broker that is silent for about twice as long is given up."""
    connect_timeout_s: float = bounded(5.0, 0.05, 600)
    """How long one attempt to connect may take."""
    connection_attempts: int = bounded(3, 1, 1_000_000)
    """How often a first connection is tried before `start_at` raises its failure."""
    confirm_timeout_s: float = bounded(10.0, 0.05, 3600)
    """An unconfirmed frame is published again after this time."""
    confirm_window: int = bounded(100, 1, 65_535)
    """How many frames may be on their way to a broker; with their events, below `dedup_window`."""
    drain_timeout_s: float = bounded(5.0, 0, 3600)
    """How long `stop` lets a chart finish what it has begun; then the outbox may take as long."""
    # At most 40 days: RabbitMQ takes 2**32 ms, which are a little less than 50.
    queue_expires_s: float | None = bounded(None, 1, 40 * DAY_S)
    """How long a broker keeps a chart's unused queue: 120 unless set; with `node_name` a day."""

    # 16 bits in AMQP (basic.qos).
    prefetch_frames: int = bounded(200, 1, 65_535)
    """How many frames come ahead of their acknowledgement; 30 at most where `node_name` is set."""
    outbox_events: int = bounded(100_000, 1, 100_000_000)
    """How many events wait for one peer at most."""
    outbox_bytes: int = bounded(64 * MIB, KIB, 64 * 1024 * MIB)
    """How many bytes of events wait for one peer at most."""
    frame_events: int = bounded(100, 1, 10_000)
    """How many events of a backlog are packed into one frame."""
    frame_bytes: int = bounded(256 * KIB, 1, 64 * MIB)
    """How many bytes of a backlog are packed into one frame; a larger event travels alone."""
    # A frame is one message at the broker, and RabbitMQ 4 takes 16 MiB by its default.
    max_event_bytes: int = bounded(MIB, 1, 64 * MIB)
    """The largest encoded event that `transmit` takes."""
    # More than `confirm_window` times `frame_events`, all that one loss makes us send again.
    dedup_window: int = bounded(16_384, 1, 10_000_000)
    """How many of a sender's last events are remembered, to drop duplicates."""

    max_deliveries: int = bounded(5, 0, 1_000_000)
    """With `node_name`, or in a group: what ended charts so often is set aside; 0: never."""

    repair_timeout_s: float = bounded(30.0, 0, 3600)
    """How long events wait for earlier ones of their sender, which are asked for again."""
    repair_events: int = bounded(20_000, 0, 10_000_000)
    """How many events that were sent are kept for receivers that ask for them again."""
    repair_bytes: int = bounded(16 * MIB, 0, 64 * 1024 * MIB)
    """How many bytes of sent events are kept for receivers that ask for them again."""

    tell_no_listener: bool = False
    """Whether charts get `NO_LISTENER` when no chart listens to a topic that they send under."""
    tell_charts: bool = False
    """Whether charts get `CHART_UP` and `CHART_DOWN` of the other nodes' charts that they hear."""

    discovery: tuple[DiscoverySource, ...] | None = None
    """How other hosts' brokers are found: `manual`, `lan`, `dns`; `rabbit_user`: `manual, lan`."""
    first_search_wait: FirstSearchWait = "hold"
    """Until the first search ends: `hold` back what is sent, `skip` it, or `block` `start_at`."""
    discovery_hosts_file: Path | None = None
    """The hosts of `manual`; default: the working folder's `.miros_mesh_hosts.json`."""
    discovery_cache_file: Path | None = None
    """What `lan` found; default: `.miros_mesh_lan_cache.json` in the folder `home`."""
    discovery_cache_max_age_s: float = bounded(1800.0, 1, 40 * DAY_S)
    """After this time `lan` searches again."""
    discovery_dns_names: tuple[str, ...] = ()
    """The names that `dns` looks up; `_service._proto.name` asks for SRV records."""
    discovery_ipv6: bool = False
    """Whether `lan` looks at IPv6 neighbours (link-local, RFC 4193) too."""
    discovery_live_trace: bool = False
    """Whether the charts of discovery print their transitions."""
    discovery_live_spy: bool = False
    """Whether the charts of discovery print every step of their event processor."""
    peer_forget_after_s: float = bounded(3600.0, 1, 40 * DAY_S)
    """A broker that was found and is dead for this long is given up, with what waits for it."""
    alien_policy: AlienPolicy = "adopt"
    """What happens to a broker that an unknown node names: `adopt`, `probe` only, or `ignore`."""

    payload_types: tuple[type, ...] = ()
    """Classes of named tuples, and dataclasses, that payloads may hold; named by `__name__`."""
    payloads: Mapping[str, Any] = field(default_factory=PayloadTypes)
    """What the events of a signal carry: types by signal, checked at `transmit` and on arrival."""
    # These four take part in the comparison of settings, so they have to be hashable.
    serializer: PayloadSerializer | None = None
    """How payloads become bytes; the built-in one takes JSON types, bytes, times, tuples, sets."""
    observers: tuple[Observer, ...] = ()
    """Objects whose hooks are called with what the node does."""
    link_factory: Callable[[Any], Any] | None = None
    """Makes the node's `Link` (see `link.ports`) from its `LinkSettings`; None: by `mode`."""
    clock: Clock | None = None
    """What the limits of requests and `ttl_s` go by; None: the time of this machine."""

    # Not compared, since a file may hold another password by now: what it is made of is.
    brokers: tuple[BrokerAddress, ...] = field(default=(), init=False, compare=False)
    """The brokers that the settings name; none when embedded."""
    _broker: tuple[BrokerAddress, ...] | SecretFile = field(default=(), init=False, repr=False)
    """`broker_url` in the form in which it is compared."""
    _keys: Mapping[str, tuple[bytes, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What the files of keys held, by their settings."""
    # As they were when the settings were made; what they are made of is compared.
    _identity: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _allowed: str | None = field(default=None, init=False, repr=False, compare=False)

    # Checked whole, so that an operator sees all problems at once and not one at each start.
    def __post_init__(self) -> None:
        self._normalise()
        brokers, problems = self._read_brokers()
        object.__setattr__(self, "brokers", brokers)
        if self.broker_url is not None:
            url = self.broker_url
            object.__setattr__(self, "_broker", url if isinstance(url, SecretFile) else brokers)
        found = [*self._value_problems(), *self._key_file_problems(), *problems]
        found += self._read_members()
        problems = [*found, *self._combination_problems()]
        if problems:
            raise ConfigError(tuple(problems))

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        env_file: Path | str | None = None,
        **overrides: Any,
    ) -> MeshConfig:
        """Read `MIROS_MESH_*` and the ancestor's variables; overrides that are not None win.

        `environ` stands for the environment of the process. Below it stands what the lines
        `NAME=value` of `env_file` say, which is read now and has to be there. Raises `ConfigError`.
        """
        # The layers: the file, the environment over it (in each the ancestor's variables, and ours
        # over them), what the program gives over all.
        given = {name: value for name, value in overrides.items() if value is not None}
        # Not a default of the signature, which `help` prints, with the passwords in it.
        variables = os.environ if environ is None else environ
        defaults = _scalar_defaults(cls)
        found = read_environment(variables, defaults, given)
        layers: list[Mapping[str, Any]] = [found.ancestor, found.mesh, given]
        if env_file is not None:
            below = env_files.read(env_file, defaults, {*given, *found.settings})
            found.add(below)
            layers[:0] = [below.ancestor, below.mesh]
        try:
            config = cls(**merge(*layers))
        except ConfigError as error:
            found.problems += found.by_variable(error.problems)
        # Also when the settings were fine without what could not be read.
        if found.problems:
            raise ConfigError(tuple(found.problems))
        return config

    def overridden(self, **overrides: Any) -> MeshConfig:
        """Return the same settings but for the overrides that are not None."""
        given = {name: value for name, value in overrides.items() if value is not None}
        if not given:
            return self
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return type(self)(**merge(own, given))

    @property
    def credentials_file(self) -> SecretFile | None:
        """The file with the password of the broker; None when it was given directly."""
        given = self.rabbit_password if self.broker_url is None else self.broker_url
        return given if isinstance(given, SecretFile) else None

    def brokers_now(self) -> tuple[BrokerAddress, ...]:
        """Return `brokers` with what `credentials_file` holds now. Raises `ConfigError`."""
        brokers, problems = self._read_brokers()
        if problems:
            raise ConfigError(tuple(problems))
        return brokers

    @property
    def mode(self) -> Mode:
        """Which of the three ways to run the settings choose."""
        if self.broker_url is not None:
            return "shared"
        return "embedded" if self.rabbit_user is None else "ancestor"

    @property
    def label(self) -> str:
        """`mesh_label`, else what its default is with these settings."""
        if self.mesh_label is not None:
            return self.mesh_label
        return self.brokers[0].virtual_host if self.brokers else "embedded"

    @property
    def discovery_sources(self) -> tuple[DiscoverySource, ...]:
        """`discovery`, else what its default is with these settings."""
        if self.discovery is not None:
            return self.discovery
        # A link of the program's own need not lead to a RabbitMQ.
        return ANCESTORS_SOURCES if self.mode == "ancestor" and not self.link_factory else ()

    @property
    def home_folder(self) -> Path:
        """`home`, else by `$MIROS_MESH_HOME`, `$XDG_STATE_HOME` or `~/.local/state/miros_mesh`."""
        # At each use, not in `_normalise`: equal settings are equal in any environment.
        return expanded(self.home or default_home(os.environ))

    def keys_for(self, network: NetworkName) -> tuple[bytes, ...] | None:
        """Return the keys of a network, primary first; None when no key was given.

        Of a file those that it held when the settings were made.
        """
        setting = f"{network}_encryption_key"
        if getattr(self, setting) is None:
            setting = "mesh_encryption_key"
        given = self._keys.get(setting) or getattr(self, setting)
        return cast("tuple[bytes, ...] | None", given)

    def key_file(self, network: NetworkName) -> SecretFile | None:
        """The file with the keys of a network, if they were given so."""
        given = getattr(self, f"{network}_encryption_key")
        return given if isinstance(given, SecretFile) else None

    def _key_file_problems(self) -> Iterator[str]:
        for network in get_args(NetworkName):
            if file := self.key_file(network):
                setting = f"{network}_encryption_key"
                try:
                    keys = keys_in(file, setting)
                except ConfigError as error:
                    yield from error.problems
                else:
                    object.__setattr__(self, "_keys", {**self._keys, setting: keys})

    def signer(self) -> Signer | None:
        """Return what signs for the node; None without `node_identity`."""
        return None if self._identity is None else Signer(self.node_name or "", self._identity)

    def members(self) -> Members | None:
        """Return the nodes that are allowed; None when all are that have the key."""
        return None if self._allowed is None else Members.parse(self._allowed)

    def _normalise(self) -> None:
        """Give equal settings one form: charts share a node if their settings compare equal."""
        # The class is frozen, hence `object`. What is of a wrong type is reported later.
        for setting, normal in _NORMAL_FORMS.items():
            object.__setattr__(self, setting, normal(getattr(self, setting)))
        # So that it may be left out beside a config that gives it.
        if self.rabbit_port == DEFAULT_PORTS[self._scheme]:
            object.__setattr__(self, "rabbit_port", None)

    @property
    def _scheme(self) -> Scheme:
        return "amqps" if self.rabbit_tls else "amqp"

    def _read_brokers(self) -> tuple[tuple[BrokerAddress, ...], list[str]]:
        setting = "rabbit_password" if self.broker_url is None else "broker_url"
        secret: Any = getattr(self, setting)
        if isinstance(secret, SecretFile):
            try:
                secret = secret.read()
            except SecretFileError as error:
                return (), [f"{setting} {error}"]
        if self.broker_url is not None:
            urls = validation.as_urls(secret)
            certified = self.broker_cert_file is not None
            return validation.parse_urls("broker_url", urls, certified=certified)
        if self.rabbit_user is None:
            return (), []
        return validation.ancestor_broker(
            scheme=self._scheme,
            host=self.rabbit_host,
            port=DEFAULT_PORTS[self._scheme] if self.rabbit_port is None else self.rabbit_port,
            virtual_host=self.rabbit_virtual_host,
            user=self.rabbit_user,
            # Without one there is no address, and `_combination_problems` says what is missing.
            password=secret or "",
        )

    def _read_members(self) -> list[str]:
        identity, problems = members.read_identity(self.node_name, self.node_identity)
        allowed, more = members.read_allowed(self.allowed_nodes)
        object.__setattr__(self, "_identity", identity)
        object.__setattr__(self, "_allowed", allowed)
        return problems + more

    def _value_problems(self) -> Iterator[str]:
        for known in fields(self):
            value = getattr(self, known.name)
            # Made by `bounded`.
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
        yield from self._tls_problems()
        yield from self._discovery_problems(has_broker=shared or user)
        if self.ancestors in ("hear", "both"):
            yield from self._ancestors_problems(has_broker=shared or user)
        keys = [self.keys_for(network) for network in get_args(NetworkName)]
        yield from members.problems(
            self.signer(), self.members(), keys, unsigned=self.old_frames == "write"
        )
        if self.serializer is not None and self.payload_types:
            yield _TYPES_OF_ANOTHER
        if validation.exceeds(self.max_event_bytes, self.outbox_bytes):
            yield "max_event_bytes is larger than outbox_bytes; the largest event would never fit"

    def _ancestors_problems(self, *, has_broker: bool) -> Iterator[str]:
        if self.link_factory is not None or not has_broker:
            yield (
                "ancestors needs a RabbitMQ, where nodes of miros-rabbitmq are: give rabbit_user "
                "and rabbit_password, or broker_url, and no link_factory"
            )
        if self.allowed_nodes is not None:
            yield (
                "ancestors and allowed_nodes exclude each other: nodes of miros-rabbitmq cannot "
                "sign; list the allowed nodes once the last of them is gone"
            )

    def _tls_problems(self) -> Iterator[str]:
        if self.broker_key_file is not None and self.broker_cert_file is None:
            yield "broker_key_file is given without broker_cert_file, whose key it is"
        if self.broker_url is not None and self.rabbit_tls is True:
            yield "rabbit_tls belongs to rabbit_user; for TLS broker_url begins with amqps://"
        # Those who give it take their connections for safe.
        elif self.brokers and not any(each.scheme == "amqps" for each in self.brokers):
            yield from (
                f"{each} is given, and {_NO_TLS}" for each in _OF_TLS if getattr(self, each)
            )

    def _discovery_problems(self, *, has_broker: bool) -> Iterator[str]:
        if self.discovery and not has_broker:
            yield (
                "discovery needs a RabbitMQ: give rabbit_user and rabbit_password, or broker_url; "
                "the embedded broker is found by its folder"
            )
        looks_up = isinstance(self.discovery, tuple) and "dns" in self.discovery
        if looks_up and not self.discovery_dns_names:
            yield "discovery has dns, and discovery_dns_names names nothing to look up"
        elif self.discovery_dns_names and not looks_up:
            yield "discovery_dns_names is given, and dns is not in discovery"


def keys_in(file: SecretFile, setting: str) -> tuple[bytes, ...]:
    """Return the keys that a file holds now, for a setting; raises `ConfigError`."""
    try:
        keys: tuple[bytes, ...] = validation.as_keys(file.read())
    except SecretFileError as error:
        raise ConfigError((f"{setting} {error}",)) from None
    if problems := tuple(validation.key_problems(setting, keys)):
        raise ConfigError(problems)
    return keys


_TWO_BROKERS: Final = (
    "broker_url excludes rabbit_user and rabbit_password: keep broker_url for a shared broker, "
    "or rabbit_user and rabbit_password for a broker on each host"
)
_TYPES_OF_ANOTHER: Final = (
    "payload_types is for the built-in serializer: leave it out, and give the classes to the one "
    "of serializer"
)
_OF_TLS: Final = ("broker_ca_file", "broker_cert_file", "broker_key_file")
_NO_TLS: Final = "no broker is reached by TLS: set rabbit_tls, or write amqps:// in broker_url"
_KEY_MISSING: Final = (
    f"mesh_encryption_key is missing: nodes that meet at a broker share a key; {validation.KEYGEN}"
)


def _key_problems(setting: str, value: Any) -> Iterator[str]:
    if not isinstance(value, SecretFile):
        yield from validation.key_problems(setting, value)


def _password_problems(setting: str, value: Any) -> Iterator[str]:
    if not isinstance(value, SecretFile):
        yield from validation.optional_text_problems(setting, value)


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


def _clock_problems(setting: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, type) or not isinstance(value, Clock):
        yield f"{setting} must have monotonic(), wall() and timer(delay_s, call)"
    elif not isinstance(value, Hashable):
        yield f"{setting} must be hashable: charts share a node if their settings are equal"


def _sources_problems(setting: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    words = get_args(DiscoverySource)
    if not isinstance(value, tuple) or any(each not in words for each in value):
        yield f"{setting} must be some of {', '.join(words)}, or off"
    elif len(set(value)) < len(value):
        yield f"{setting} names a source twice"


def _one_of(words: Any) -> Callable[[str, Any], Iterator[str]]:
    def problems(setting: str, value: Any) -> Iterator[str]:
        if value not in (known := get_args(words)):
            yield f"{setting} must be one of {', '.join(known)}"

    return problems


_NORMAL_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "broker_url": validation.as_urls,
    "mesh_encryption_key": validation.as_keys,
    "snoop_trace_encryption_key": validation.as_keys,
    "snoop_spy_encryption_key": validation.as_keys,
    "node_identity": members.as_identity,
    "allowed_nodes": members.as_allowed,
    "home": validation.as_home,
    "broker_ca_file": validation.as_lasting_file,
    "broker_cert_file": validation.as_lasting_file,
    "broker_key_file": validation.as_lasting_file,
    "discovery": validation.as_sources,
    "discovery_hosts_file": validation.as_home,
    "discovery_cache_file": validation.as_home,
    "discovery_dns_names": validation.as_words,
    "payload_types": validation.as_classes,
    "payloads": validation.as_payloads,
    "observers": validation.as_tuple,
}
_CHECKS: Final[Mapping[str, Callable[[str, Any], Iterator[str]]]] = {
    "rabbit_user": validation.optional_text_problems,
    "rabbit_password": _password_problems,
    "rabbit_host": validation.text_problems,
    "rabbit_virtual_host": validation.text_problems,
    "rabbit_tls": validation.switch_problems,
    "broker_ca_file": validation.file_problems,
    "broker_cert_file": validation.file_problems,
    "broker_key_file": validation.file_problems,
    "mesh_encryption_key": _key_problems,
    "snoop_trace_encryption_key": _key_problems,
    "snoop_spy_encryption_key": _key_problems,
    "mesh_label": validation.label_problems,
    "old_frames": _one_of(OldFrames),
    "cipher": _one_of(Cipher),
    "ancestors": _one_of(Ancestors),
    "node_name": validation.node_name_problems,
    "home": validation.home_problems,
    "durability": _one_of(Durability),
    "discovery": _sources_problems,
    "first_search_wait": _one_of(FirstSearchWait),
    "discovery_hosts_file": validation.file_problems,
    "discovery_cache_file": validation.file_problems,
    "discovery_dns_names": validation.names_problems,
    "discovery_ipv6": validation.switch_problems,
    "discovery_live_trace": validation.switch_problems,
    "discovery_live_spy": validation.switch_problems,
    "alien_policy": _one_of(AlienPolicy),
    "payload_types": validation.payload_types_problems,
    "payloads": validation.payloads_problems,
    "serializer": _serializer_problems,
    "observers": _observers_problems,
    "link_factory": _link_factory_problems,
    "clock": _clock_problems,
}


def _scalar_defaults(settings: type[MeshConfig]) -> dict[str, Any]:
    """Return every setting that a variable can hold, with its default."""
    # No text of a variable can say what these are.
    objects = {"payload_types", "payloads", "serializer", "observers", "link_factory", "clock"}
    return {f.name: _like(f) for f in fields(settings) if f.init and f.name not in objects}


def _like(known: Field[Any]) -> Any:
    """Return a value of the type that a setting has."""
    # A number that may be left out has no default, but a range.
    if known.default is None and "range" in known.metadata:
        return known.metadata["range"][1]
    return known.default
