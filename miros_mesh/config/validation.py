"""What a setting may be: `as_...` gives it its normal form, `..._problems` checks that.

A check yields the problems that it finds, a sentence each, and raises nothing.

No sentence quotes text that was given: a secret may stand in the wrong setting.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, field
from pathlib import Path
from typing import Any, Final

from miros_mesh.address import SHORT_STRING_BYTES, BrokerAddress, Scheme, is_port
from miros_mesh.errors import AddressError
from miros_mesh.text import encodable
from miros_mesh.wire.keyring import is_key
from miros_mesh.wire.payload_forms import PayloadTypes, problems_of
from miros_mesh.wire.payload_types import type_problem

OFF: Final = "off"
_NO_PATH: Final = "\0"
KEYGEN: Final = "make one with: miros-mesh keygen"

# ASCII, and short: the names of queues that it becomes a part of have 255 bytes at most.
_NODE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# `_` stands in the names of SRV records: _amqp._tcp.example.org.
_LOOKED_UP: Final = re.compile(r"[\w-]+(\.[\w-]+)*\.?(:[0-9]{1,5})?")
# Only where another URL begins: a password may hold a comma.
_BETWEEN_URLS: Final = re.compile(r"\s*[,;\s]\s*(?=amqps?://)", re.IGNORECASE)
_BETWEEN_WORDS: Final = re.compile(r"[,;\s]+")
_BETWEEN_KEYS: Final = re.compile(rb"[,\s]+")


def bounded(default: float | None, low: float, high: float) -> Any:
    """Make a dataclass field for a number from `low` to `high`; a whole one if `default` is.

    With None as the default it may be left out, and is a whole one if `high` is.
    """
    return field(default=default, metadata={"range": (low, high)})


def as_urls(value: Any) -> Any:
    """Return one string of one or several URLs as a tuple; a value of a wrong type as it is."""
    if isinstance(value, str):
        return tuple(_BETWEEN_URLS.split(value.strip()))
    return tuple(value) if isinstance(value, list) else value


def as_keys(value: Any) -> Any:
    """Return keys in any accepted form as a tuple of bytes; a value of a wrong type as it is."""
    if isinstance(value, (str, bytes)):
        return tuple(_BETWEEN_KEYS.split(_as_bytes(value).strip()))
    return tuple(map(_as_bytes, value)) if isinstance(value, (list, tuple)) else value


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, which can be hashed; any other value as it is."""
    return tuple(value) if isinstance(value, list) else value


def as_classes(value: Any) -> Any:
    """Return classes as a tuple in the order of their names; a value of a wrong type as it is."""
    if isinstance(value, (list, tuple)) and all(isinstance(each, type) for each in value):
        return tuple(sorted(value, key=lambda each: each.__name__))
    return as_tuple(value)


def as_payloads(value: Any) -> Any:
    """Return a mapping in a form that can be hashed; a value of a wrong type as it is."""
    return PayloadTypes(value) if isinstance(value, Mapping) else value


def as_home(value: Any) -> Any:
    """Return a text as a path, with `~` left in it until it is used; any other value as it is."""
    return Path(value) if isinstance(value, str) and value else value


def as_lasting_file(value: Any) -> Any:
    """Return the path of a file that is read again later, when the program may be elsewhere."""
    path = as_home(value)
    try:
        return path.expanduser().absolute() if isinstance(path, Path) else path
    except RuntimeError:
        # `file_problems` says so.
        return path


def as_words(value: Any) -> Any:
    """Return a string of words, split by commas or white space, as a tuple."""
    if isinstance(value, str):
        return tuple(word for word in _BETWEEN_WORDS.split(value.strip()) if word)
    return as_tuple(value)


def as_sources(value: Any) -> Any:
    """Do as `as_words`, where the one word `off` stands for no source."""
    words = as_words(value)
    return () if words == (OFF,) else words


def _as_bytes(key: Any) -> Any:
    # Never raises: what is not ASCII becomes something that `key_problems` refuses.
    return key.encode(errors="replace") if isinstance(key, str) else key


def number_problems(known: Field[Any], value: Any) -> Iterator[str]:
    """Check a number against the range of its field."""
    if value is None and known.default is None:
        return
    low, high = known.metadata["range"]
    # Without a default the range tells what it is.
    whole = isinstance(high if known.default is None else known.default, int)
    kind = "a whole number" if whole else "a number"
    # `type` and not isinstance: True is an int, and no number of seconds.
    if type(value) is not int and (whole or type(value) is not float):
        yield f"{known.name} must be {kind}, not of type {type(value).__name__}"
    # NaN is in no range, so it ends here.
    elif not low <= value <= high:
        yield f"{known.name} is {value}; it must be {kind} from {low:.15g} to {high:.15g}"


def text_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a text that may not be empty."""
    if not isinstance(value, str):
        yield f"{setting} must be a str, not of type {type(value).__name__}"
    elif not value:
        yield f"{setting} is empty; give it a value or leave it out"


def optional_text_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a text that may be left out but may not be empty."""
    if value is not None:
        yield from text_problems(setting, value)


def label_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a text that goes into every frame."""
    yield from optional_text_problems(setting, value)
    if isinstance(value, str) and len(encodable(value).encode()) > SHORT_STRING_BYTES:
        yield f"{setting} has at most {SHORT_STRING_BYTES} bytes"


def node_name_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a name that becomes part of queue names, metric labels and thread names."""
    if value is not None and not (isinstance(value, str) and _NODE_NAME.fullmatch(value)):
        yield f"{setting} must be 1 to 64 characters out of letters, digits, '.', '_' and '-'"


def home_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a folder on which processes with different working directories must agree."""
    if value is None:
        return
    if not isinstance(value, Path):
        yield f"{setting} must be a path to a folder"
    elif _NO_PATH in str(value):
        yield f"{setting} holds a character that no path can, the one with the number 0"
    elif not (value.is_absolute() or str(value).startswith("~")):
        yield f"{setting} must be an absolute path, so that every process finds the same folder"


def file_problems(setting: str, value: Any) -> Iterator[str]:
    """Check a file that need not exist."""
    if value is None:
        return
    if not isinstance(value, Path):
        yield f"{setting} must be a path to a file"
        return
    if _NO_PATH in str(value):
        yield f"{setting} holds a character that no path can, the one with the number 0"
        return
    try:
        # Only to see whether it can be; the path is expanded when it is used.
        value.expanduser()
    except RuntimeError:
        yield f"{setting} begins with ~ of a user who has no folder; write it out"


def names_problems(setting: str, value: Any) -> Iterator[str]:
    """Check host names that are looked up; a URL could hold a password."""
    if not isinstance(value, tuple) or not all(
        isinstance(name, str) and _LOOKED_UP.fullmatch(name) for name in value
    ):
        yield f"{setting} must be host names, each perhaps with :port"


def switch_problems(setting: str, value: Any) -> Iterator[str]:
    """Check what is on or off."""
    if not isinstance(value, bool):
        yield f"{setting} must be True or False"


def payload_types_problems(setting: str, value: Any) -> Iterator[str]:
    """Check classes whose values are made again of their fields, and found by their names."""
    if not isinstance(value, tuple) or not all(isinstance(each, type) for each in value):
        yield f"{setting} must be a tuple of classes: of named tuples, and dataclasses"
        return
    for kind in value:
        if problem := type_problem(kind):
            yield f"{setting}: {kind.__name__} {problem}"
    for name, number in Counter(kind.__name__ for kind in value).items():
        if number > 1:
            yield (
                f"{setting} has {number} classes called {name}, the name that they would have on "
                "the wire; rename all but one, or leave them out"
            )


def payloads_problems(setting: str, value: Any) -> Iterator[str]:
    """Check the types of payloads, by the signals of their events."""
    if not isinstance(value, PayloadTypes):
        yield f"{setting} must be a mapping from the names of signals to types"
        return
    yield from (f"{setting}: {problem}" for problem in problems_of(value))


def key_problems(setting: str, keys: Any) -> Iterator[str]:
    """Check Fernet keys by their form: nothing is decrypted, no key is quoted."""
    if keys is None:
        return
    if not isinstance(keys, tuple) or not keys:
        yield f"{setting} must be a Fernet key or a tuple of them, primary first; {KEYGEN}"
        return
    for number, key in enumerate(keys, start=1):
        # By number: a key that is nearly right would be a secret in a log.
        if not is_key(key):
            yield (
                f"{setting}{_which(number, keys)} is not a Fernet key "
                f"(44 url-safe base64 characters); {KEYGEN}"
            )


def parse_urls(
    setting: str, urls: Any, *, certified: bool = False
) -> tuple[tuple[BrokerAddress, ...], list[str]]:
    """Read every URL; return the addresses of the good ones and the problems of the others.

    To those who are `certified` a URL with TLS and without a user means that of the certificate.
    """
    if not isinstance(urls, tuple) or not urls:
        return (), [f"{setting} must be an amqp:// or amqps:// URL or a tuple of them"]
    addresses, problems = [], []
    for number, url in enumerate(urls, start=1):
        try:
            addresses.append(BrokerAddress.parse(url, certified=certified))
        except AddressError as error:
            problems.append(f"{setting}{_which(number, urls)}: {error}")
    return tuple(addresses), problems


def ancestor_broker(
    *, scheme: Scheme, host: Any, port: Any, virtual_host: Any, user: Any, password: Any
) -> tuple[tuple[BrokerAddress, ...], list[str]]:
    """Put an address together; return nothing for parts whose own checks report what is wrong."""
    texts = (host, virtual_host, user, password)
    if not all(isinstance(text, str) and text for text in texts) or not is_port(port):
        return (), []
    try:
        return (BrokerAddress(scheme, host, port, virtual_host, user, password),), []
    except AddressError as error:
        return (), [f"rabbit_host with rabbit_virtual_host: {error}"]


def exceeds(part: Any, whole: Any) -> bool:
    """Whether a part is larger than what must hold it; False if one of them is no whole number."""
    return type(part) is int and type(whole) is int and part > whole


def _which(number: int, values: Sequence[object]) -> str:
    return f" (number {number} of {len(values)})" if len(values) > 1 else ""
