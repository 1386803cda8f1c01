"""Broker addresses and routing keys as values: parse, compare, redact, match."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, unquote

from miros_mesh.errors import AddressError, ChartAddressError, RoutingKeyError

Scheme = Literal["amqp", "amqps"]

DEFAULT_PORTS: Final[dict[Scheme, int]] = {"amqp": 5672, "amqps": 5671}
# What AMQP calls a short string: routing keys, and names of queues, exchanges, virtual hosts.
SHORT_STRING_BYTES: Final = 255
LARGEST_PORT: Final = 65_535
DEFAULT_ROUTING_KEY: Final = "miros.mesh"
"""What charts and clients send under that are given no `tx_routing_key`."""
MOST_PATTERNS: Final = 100
"""Of one chart: each is a binding at the broker."""
DIRECT_TOPICS: Final = "miros_mesh.to."
"""What the topics begin with under which events reach one chart."""

_ESCAPED: Final = {each: f"%{ord(each):02X}" for each in "%.*#\0"}
_TO_ESCAPE: Final = re.compile(r"[%.*#\0]")

# `urllib.parse.urlsplit` quotes the part with the password in some of its errors; a pattern cannot.
_URL: Final = re.compile(
    r"(?i:(?P<scheme>amqps?))://"
    r"(?:(?P<user>[^:/?#]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?:\[(?P<ipv6>[^]:/?#@]*:[^]/?#@]*)]|(?P<host>[^:/?#@\[\]]*))"
    r"(?::(?P<port>[^/?#]*))?"
    r"(?:/(?P<virtual_host>[^?#@]*))?"
)
# Wider than DNS: `_` and letters beyond ASCII pass, and the resolver decides.
_HOST_NAME: Final = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
# With a zone, as in fe80::1%eth0; whether the digits make an address the resolver decides.
_IPV6: Final = re.compile(r"(?=.*:.*:)[0-9a-fA-F:.]+(%[\w.-]+)?")
# unquote leaves such a one as it is, and a password would be another one than was meant.
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_WHITE_OR_CONTROL: Final = re.compile(r"[\s\x00-\x1f\x7f]")
# Five digits at most, since Python refuses to read some thousands of them.
_PORT: Final = re.compile(r"[0-9]{1,5}")
# No name of DNS is longer (RFC 1035).
_LONGEST_HOST: Final = 255
_SHAPE: Final = "amqp://user:password@host:5672/virtual_host"


@dataclass(frozen=True, repr=False)
class BrokerAddress:
    """Where a broker is and who we are there; shows itself without its password.

    Without a user it is one with TLS, and our certificate says who we are.
    """

    scheme: Scheme
    host: str
    port: int
    virtual_host: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)

    def __post_init__(self) -> None:
        # Upper case makes no other host, and equal addresses share connections.
        object.__setattr__(self, "host", self.host.lower())
        problem = next(_address_problems(self), None)
        if problem:
            raise AddressError(problem)

    @classmethod
    def parse(cls, url: str, *, certified: bool = False) -> BrokerAddress:
        """Read an AMQP URL; what it leaves out is as RabbitMQ's defaults (guest, `/`, 5672).

        To those who are `certified`, amqps:// without a user means the user of their certificate.
        """
        # The first problem is the cause, the others mostly follow from it.
        problem = _type_problem(url) or next(_url_problems(url), None)
        if problem:
            raise AddressError(f"the broker URL {problem}")
        parts = cast(re.Match[str], _URL.fullmatch(url))
        scheme = cast(Scheme, parts["scheme"].lower())
        # Both or none: `_url_problems` has refused a user without a password.
        signed_in = parts["user"] is not None
        absent = "" if certified and scheme == "amqps" else "guest"
        return cls(
            scheme=scheme,
            host=unquote(parts["ipv6"] or parts["host"] or ""),
            port=int(parts["port"]) if parts["port"] else DEFAULT_PORTS[scheme],
            virtual_host=unquote(parts["virtual_host"] or "/"),
            user=unquote(parts["user"]) if signed_in else absent,
            password=unquote(parts["password"] or "") if signed_in else absent,
        )

    @property
    def redacted(self) -> str:
        """The address as a URL with its user and without its password."""
        # In a URL the % before a zone is written %25 (RFC 6874).
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"{self.scheme}://{user}{host}:{self.port}/{quote(self.virtual_host)}"

    def __str__(self) -> str:
        return self.redacted

    def __repr__(self) -> str:
        return f"BrokerAddress({self.redacted})"


@dataclass(frozen=True, order=True)
class Endpoint:
    """A host, by name or address, and the port at which its broker listens."""

    host: str
    port: int

    def __post_init__(self) -> None:
        # The rules for hosts and ports are those of every other broker address. The length is
        # checked here, since hosts also come from other nodes, which may write what they like.
        if len(self.host) > _LONGEST_HOST:
            raise AddressError(f"a host has at most {_LONGEST_HOST} characters")
        object.__setattr__(self, "host", BrokerAddress("amqp", self.host, self.port).host)

    @classmethod
    def parse(cls, text: object, default_port: int) -> Endpoint:
        """Read `host`, `host:port`, `fd00::1` or `[fd00::1]:port`; raises `AddressError`."""
        if not isinstance(text, str):
            raise AddressError(f"a host is a text, not {type(text).__name__}")
        host, port = _host_and_port(text.strip())
        if port and not (_PORT.fullmatch(port) and is_port(int(port))):
            # Not quoted: what stands there may be a URL with a password.
            raise AddressError("a host has a port that is no number from 1 to 65535")
        return cls(host, int(port) if port else default_port)

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The host as an address; None for a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def url(self) -> str:
        """The endpoint as an AMQP URL without user and password."""
        return f"amqp://{self}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def is_port(port: object) -> bool:
    """Whether `port` is a whole number that TCP has."""
    # `type`, since True is an int, too.
    return type(port) is int and 1 <= port <= LARGEST_PORT


def _type_problem(url: object) -> str | None:
    return None if isinstance(url, str) else f"must be a str, not {type(url).__name__}"


def _url_problems(url: str) -> Iterator[str]:
    """What keeps `url` from being read, the first cause first, in words that quote nothing."""
    if _WHITE_OR_CONTROL.search(url):
        yield "holds white space or a control character; remove it, or percent-encode it"
    if not url.lower().startswith(("amqp://", "amqps://")):
        yield f"begins with neither amqp:// nor amqps://; it looks like {_SHAPE}"
    if _STRAY_PERCENT.search(url):
        yield "holds a '%' without two hexadecimal digits after it; write a plain '%' as %25"
    # What unquote puts in place of bytes that are not UTF-8.
    if "\ufffd" in unquote(url):
        yield "has percent-encoded bytes that are not UTF-8"
    parts = _URL.fullmatch(url)
    if parts is None:
        yield (
            f"is malformed; it looks like {_SHAPE}, without '?' or '#' parts, an IPv6 host in [], "
            "and in user, password and virtual host '/' is written %2F, '@' %40, '?' %3F, '#' %23"
        )
    elif parts["port"] and not _PORT.fullmatch(parts["port"]):
        yield (
            f"has a port that is not a number from 1 to {LARGEST_PORT} (an IPv6 host is written "
            "in [], and a '/' in the password as %2F)"
        )
    elif parts["user"] and not parts["password"]:
        yield f"names a user but no password; it looks like {_SHAPE}"


def _address_problems(address: BrokerAddress) -> Iterator[str]:
    if address.scheme not in get_args(Scheme):
        yield "a broker address has the scheme 'amqp' or 'amqps'"
    if not (_HOST_NAME.fullmatch(address.host) or _IPV6.fullmatch(address.host)):
        yield "a broker address needs a host: a name, an IPv4 or an IPv6 address"
    if not is_port(address.port):
        yield f"a broker address needs a port from 1 to {LARGEST_PORT}"
    if not 1 <= _utf8_length(address.virtual_host) <= SHORT_STRING_BYTES:
        yield f"a broker address needs a virtual host of 1 to {SHORT_STRING_BYTES} bytes"
    if not address.user and address.scheme != "amqps":
        yield "a broker address needs a user"
    # From a variable of the environment that is not UTF-8.
    if _utf8_length(address.user) < 0 or _utf8_length(address.password) < 0:
        yield "a broker address needs a user and a password that have a UTF-8 form"


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        return (host if closed else ""), port.removeprefix(":")
    # More than one colon without brackets is a bare IPv6 address; a port cannot be told from it.
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, ""


def validate_routing_key(key: str) -> str:
    """Return `key` if a message can travel under it, else raise `RoutingKeyError`."""
    _refuse_what_amqp_refuses("routing key", key)
    if key.startswith(DIRECT_TOPICS):
        raise RoutingKeyError(
            f"the routing key {key!r} begins with {DIRECT_TOPICS!r}, as only addresses "
            "of charts do; to send to one chart, say to='node/chart'"
        )
    if "*" in key or "#" in key:
        raise RoutingKeyError(
            f"the routing key {key!r} holds a wildcard; '*' and '#' belong in the pattern that a "
            "chart hears (rx_routing_key), a sent event needs plain words (tx_routing_key)"
        )
    return key


def validate_topic(key: str) -> str:
    """Return `key` if it is a topic of its own for an event, else raise `RoutingKeyError`."""
    if not validate_routing_key(key):
        raise RoutingKeyError(
            "the routing key is empty; name a topic, or leave it out to send under tx_routing_key"
        )
    return key


def validate_routing_pattern(pattern: str) -> str:
    """Return `pattern` if a queue can be bound with it, else raise `RoutingKeyError`."""
    _refuse_what_amqp_refuses("routing pattern", pattern)
    # RabbitMQ takes such a word literally, and `validate_routing_key` refuses it in every key.
    for word in pattern.split("."):
        if len(word) > 1 and ("*" in word or "#" in word):
            raise RoutingKeyError(
                f"the word {word!r} of the routing pattern {pattern!r} would match nothing; a "
                "wildcard is a whole word: '*' for one word, '#' for any number of words"
            )
    return pattern


def validate_routing_patterns(patterns: str | Iterable[str]) -> tuple[str, ...]:
    """Return one pattern or several, each once and in order, or raise `RoutingKeyError`."""
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        return (_heard_pattern(patterns),)
    several = tuple(sorted({_heard_pattern(each) for each in patterns}))
    if "" in several:
        raise RoutingKeyError("one of the routing patterns is empty; leave it out, or name a topic")
    if not several:
        raise RoutingKeyError("no routing pattern is given; name the topics that the chart hears")
    if len(several) > MOST_PATTERNS:
        raise RoutingKeyError(
            f"{len(several)} routing patterns are given, and {MOST_PATTERNS} are the most: use "
            "wildcards, or let several charts hear them"
        )
    return several


def _heard_pattern(pattern: str) -> str:
    if validate_routing_pattern(pattern).startswith(DIRECT_TOPICS):
        raise RoutingKeyError(
            f"the routing pattern {pattern!r} begins with {DIRECT_TOPICS!r}, as only addresses of "
            "charts do; a chart hears what is sent to its own address in any case, and no other"
        )
    return pattern


def _refuse_what_amqp_refuses(what: str, key: str) -> None:
    if not isinstance(key, str):
        raise RoutingKeyError(f"the {what} must be a str, not {type(key).__name__}")
    length = _utf8_length(key)
    if length < 0:
        raise RoutingKeyError(f"the {what} {key!r} cannot be encoded as UTF-8")
    if length > SHORT_STRING_BYTES:
        raise RoutingKeyError(
            f"the {what} {key[:32]!r}... has {length} bytes as UTF-8; "
            f"AMQP carries at most {SHORT_STRING_BYTES}"
        )
    if "\0" in key:
        raise RoutingKeyError(f"the {what} {key!r} holds a NUL character; remove it")


def _utf8_length(text: str) -> int:
    """The bytes that `text` takes, or -1 if a lone surrogate forbids encoding it."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def chart_address(text: object) -> tuple[str, str]:
    """Return node and chart of an address, `node/chart`; raises `ChartAddressError`."""
    node, slash, chart = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not (node and slash and chart) or _utf8_length(node) < 0 or _utf8_length(chart) < 0:
        shown = text[:80] if isinstance(text, str) else type(text).__name__
        raise ChartAddressError(
            f"{shown!r} is no address of a chart; it looks like 'node/chart', and chart.received "
            "tells that of who has sent an event"
        )
    if (length := len(node) + 1 + len(chart)) > SHORT_STRING_BYTES:
        raise ChartAddressError(
            f"{node[:40]!r}/{chart[:40]!r}... is no address of a chart: it has {length} "
            f"characters, and {SHORT_STRING_BYTES} are the most"
        )
    return node, chart


def direct_topic(node: str, chart: str) -> str:
    """Return the topic, of an exchange of its own, under which events reach one chart alone."""
    words = f"{_word(node)}.{_word(chart)}"
    if len(DIRECT_TOPICS) + _utf8_length(words) > SHORT_STRING_BYTES:
        # Two words, as the others have.
        digests = (hashlib.blake2s(each.encode(), digest_size=16) for each in (node, chart))
        words = ".".join(each.hexdigest() for each in digests)
    return DIRECT_TOPICS + words


def is_direct(destination: str) -> bool:
    """Whether a destination is one chart (a `direct_topic`), and no topic that others may hear."""
    return destination.startswith(DIRECT_TOPICS)


class Hearing:
    """What a chart hears, or several: patterns of topics, and addresses."""

    __slots__ = ("_exact", "_wild", "size")

    def __init__(self, patterns: Collection[str]) -> None:
        wild = {each for each in patterns if not is_direct(each) and ("*" in each or "#" in each)}
        self._exact = frozenset(patterns) - wild
        self._wild = [_words(each) for each in sorted(wild)]
        self.size = 1 + len(wild)
        """How many comparisons it takes at most to know whether something is heard."""

    def __call__(self, destination: str) -> bool:
        """Whether what is sent to a destination is heard."""
        if destination in self._exact:
            return True
        # No pattern matches an address: that is of another exchange.
        if not self._wild or is_direct(destination):
            return False
        words = _words(destination)
        return any(_words_match(pattern, words) for pattern in self._wild)


def hears(patterns: Collection[str], destination: str) -> bool:
    """Whether who hears these patterns and addresses gets what is sent to a destination."""
    return Hearing(patterns)(destination)


def _word(name: str) -> str:
    # One word of a topic, in which no character means anything, and none is refused.
    return "".join(_ESCAPED.get(each, each) for each in name) if _TO_ESCAPE.search(name) else name


def topic_of_queue(exchange: str, queue: str) -> str:
    """Return what topics begin with under which an exchange reaches this queue and no other."""
    # Short, as a topic has 255 bytes, and a queue's name may have as many.
    return f"{exchange}.{hashlib.blake2s(queue.encode(), digest_size=8).hexdigest()}"


def topic_matches(pattern: str, key: str) -> bool:
    """Whether AMQP routes `key` to `pattern`: `*` is one word, `#` zero or more words."""
    return _words_match(_words(pattern), _words(key))


def _words(text: str) -> list[str]:
    # RabbitMQ gives an empty key no word at all, so that "*" does not match it.
    return text.split(".") if text else []


def _words_match(pattern: list[str], words: list[str]) -> bool:
    """Match word by word; at a mismatch go back to the last `#` and let that take one word more.

    Each `#` begins with no word. An earlier one than the last need not be tried again: what it
    could take, the last one can take as well. So the time is bounded by the product of the lengths.
    """
    at, read = 0, 0  # the next word of the pattern, and of the key
    after_hash, retry_from = -1, 0  # the same two for going back; -1 before the first `#`
    while read < len(words):
        wanted = pattern[at] if at < len(pattern) else None
        # It takes nothing at first; from here on a mismatch has a place to go back to.
        if wanted == "#":
            at += 1
            after_hash, retry_from = at, read
        elif wanted == "*" or wanted == words[read]:
            at += 1
            read += 1
        elif after_hash >= 0:
            retry_from += 1
            at, read = after_hash, retry_from
        else:
            return False
    return all(word == "#" for word in pattern[at:])
