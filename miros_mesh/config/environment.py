"""Settings from environment variables; keeps which variable gave what, for the error messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import ConfigError, SecretFileError

PREFIX: Final = "MIROS_MESH_"
# Each may be given as a file, by a variable of the same name with _FILE behind it.
SECRETS: Final = frozenset(
    {
        "broker_url",
        "rabbit_password",
        "mesh_encryption_key",
        "snoop_trace_encryption_key",
        "snoop_spy_encryption_key",
        "node_identity",
        "allowed_nodes",
    }
)
# Those of them whose files are read again at each attempt to connect; those of keys at intervals.
CREDENTIALS: Final = frozenset({"broker_url", "rabbit_password"})
# No secret, so that others may read its file: the settings do.
_LISTS: Final = frozenset({"allowed_nodes"})
# Besides the long name, which is MIROS_MESH_ and the setting in capitals.
SHORT_NAMES: Final = {"mesh_encryption_key": f"{PREFIX}ENCRYPTION_KEY"}
# Those of miros-rabbitmq, which have no prefix: a layer of its own, since any of ours wins over it.
ANCESTOR_NAMES: Final = {
    "rabbit_user": "RABBIT_USER",
    "rabbit_password": "RABBIT_PASSWORD",
    "rabbit_port": "RABBIT_PORT",
    "heartbeat_interval_s": "RABBIT_HEARTBEAT_INTERVAL",
    "connection_attempts": "CONNECTION_ATTEMPTS",
    "mesh_encryption_key": "MESH_ENCRYPTION_KEY",
    "snoop_trace_encryption_key": "SNOOP_TRACE_ENCRYPTION_KEY",
    "snoop_spy_encryption_key": "SNOOP_SPY_ENCRYPTION_KEY",
}
# Read by discovery: it wins over a program's settings.
FOREIGN_NAMES: Final = frozenset({f"{PREFIX}LAN"})

_ON: Final = frozenset({"on", "1", "yes", "true"})
_OFF: Final = frozenset({"off", "0", "no", "false"})

# Between 0 and 1, as difflib counts: what is worth a hint, and how much worse than the best.
_ALIKE: Final = 0.7
_NEARLY: Final = 0.1
_MOST_HINTS: Final = 3

# Kubernetes puts these into each container for a service called, say, "miros-mesh" or "rabbit".
_SERVICE_LINK: Final = re.compile(
    r"\w+_(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT_\d+_(TCP|UDP|SCTP)\w*=.*"
    r"|PORT=(tcp|udp|sctp)://.*)"
)


@dataclass
class Found:
    """What the environment gives: two layers of keyword arguments for `MeshConfig`.

    `variables` has for each setting the variable it came from, or those that it may come from;
    `unreadable` the settings whose variable has a problem of its own.
    """

    mesh: dict[str, Any] = field(default_factory=dict, repr=False)
    ancestor: dict[str, Any] = field(default_factory=dict, repr=False)
    variables: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def settings(self) -> set[str]:
        """The settings that it says something of, which may be of no use."""
        return {*self.mesh, *self.ancestor, *self.unreadable}

    def add(self, below: Found) -> None:
        """Take in which variables a layer below gives, and its problems; not its values."""
        own = self.settings
        self.variables |= {name: at for name, at in below.variables.items() if name not in own}
        self.unreadable |= below.unreadable
        self.problems += below.problems

    def by_variable(self, problems: Iterable[str]) -> Iterator[str]:
        """Yield the problems with variables in place of settings, but for the unreadable ones."""
        # Whole words: `discovery` is also the beginning of the names of others.
        setting = re.compile(rf"\b({'|'.join(self.variables)})\b")
        for problem in problems:
            if self.unreadable.isdisjoint(setting.findall(problem)):
                yield setting.sub(lambda name: self.variables[name[0]], problem)


def read_environment(
    environ: Mapping[str, str], defaults: Mapping[str, Any], overridden: Collection[str] = ()
) -> Found:
    """Look for every setting of `defaults` but the overridden; an empty variable counts as not set.

    The type of a default says whether the text is read as a number or a switch. Raises nothing:
    problems are in what is returned.
    """
    # Kubernetes' own variables must not look like misspelt settings.
    given = {
        name: value
        for name, value in environ.items()
        if value.strip() and not _SERVICE_LINK.fullmatch(f"{name}={value}")
    }
    # Variables of an overridden setting are known, too, and are simply not read.
    found = Found(problems=list(_unknown_variables(given, defaults)))
    for setting, default in defaults.items():
        if setting not in overridden:
            missing = f"{setting} ({SHORT_NAMES.get(setting, _long_name(setting))})"
            found.variables[setting] = missing
            _read_setting(setting, default, given, found)
    return found


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Put later layers over earlier ones; a later choice of broker replaces an earlier one.

    `broker_url` and `rabbit_user` exclude each other, so either one of a later layer takes the
    other one out of what was there before.
    """
    settings: dict[str, Any] = {}
    credentials = {"rabbit_user", "rabbit_password"}
    for layer in layers:
        if layer.get("broker_url") is not None:
            gone = {*credentials, "rabbit_tls"}
            settings = {k: v for k, v in settings.items() if k not in gone}
        elif any(layer.get(name) is not None for name in credentials):
            settings.pop("broker_url", None)
        settings |= layer
    return settings


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the folder that a user's processes share when no setting names one."""
    # Read here as well, for settings that a program made without `from_env`.
    named = environ.get(f"{PREFIX}HOME", "")
    if named.strip():
        if not Path(named).expanduser().is_absolute():
            raise ConfigError((f"{PREFIX}HOME must be an absolute path",))
        return Path(named)
    state = Path(environ.get("XDG_STATE_HOME", ""))
    # The XDG specification has a relative path ignored.
    return (state if state.is_absolute() else Path("~/.local/state")) / "miros_mesh"


def broker_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables that are set and name a broker, which settings may not have read."""
    names = [name for setting in ("broker_url", "rabbit_user") for name in _candidates(setting)]
    return tuple(name for name in names if environ.get(name, "").strip())


def secret_variables() -> frozenset[str]:
    """Return the variables that hold a secret, and not the name of its file."""
    return frozenset(
        name for setting in SECRETS for name in _candidates(setting) if not name.endswith("_FILE")
    )


def expanded(home: Path) -> Path:
    """Replace `~` in a path, also where the user may have no home folder."""
    try:
        return home.expanduser()
    except RuntimeError:
        problem = f"this user has no home folder; set {PREFIX}HOME to a folder of its own"
        raise ConfigError((problem,)) from None


def _long_name(setting: str) -> str:
    return PREFIX + setting.upper()


def _candidates(setting: str) -> list[str]:
    """Return the variables that may hold a setting, the one that wins first."""
    own = [_long_name(setting), *([SHORT_NAMES[setting]] if setting in SHORT_NAMES else [])]
    if setting in SECRETS:
        # Beside each other, so that a long name in a file wins over a short one without.
        own = [name for variable in own for name in (variable, f"{variable}_FILE")]
    return [*own, *([ANCESTOR_NAMES[setting]] if setting in ANCESTOR_NAMES else [])]


def _read_setting(setting: str, default: Any, given: Mapping[str, str], found: Found) -> None:
    variable = next((name for name in _candidates(setting) if name in given), None)
    if variable is None:
        return
    found.variables[setting] = variable
    # Where MIROS_MESH_ and the ancestor's variable are both set, only the first is read.
    layer = found.ancestor if variable == ANCESTOR_NAMES.get(setting) else found.mesh
    try:
        text = _text(setting, variable, given)
        layer[setting] = _read(default, variable, text) if isinstance(text, str) else text
    except ConfigError as error:
        found.problems.extend(error.problems)
        found.unreadable.add(setting)


def _text(setting: str, variable: str, given: Mapping[str, str]) -> str | Path | SecretFile:
    """Return what a variable says, or the file that it names; the value itself is never quoted."""
    if setting not in SECRETS:
        return given[variable]
    # Not the first of the two: which one an operator meant cannot be told.
    if f"{variable}_FILE" in given:
        raise ConfigError((f"{variable} and {variable}_FILE are both set; remove one",))
    if not variable.endswith("_FILE"):
        return given[variable]
    if setting in _LISTS:
        return Path(given[variable])
    file = SecretFile(Path(given[variable]))
    if setting in CREDENTIALS or not file.once:
        return file
    # The settings may be made again of what they hold, and there is no second time to read it.
    try:
        return file.read()
    except SecretFileError as error:
        raise ConfigError((f"{variable} {error}",)) from None


def _read(default: Any, variable: str, text: str) -> Any:
    kinds = {int: "a whole number", float: "a number"}
    if isinstance(default, bool):
        return _switch(variable, text)
    try:
        return type(default)(text) if type(default) in kinds else text
    except ValueError:
        raise ConfigError((f"{variable} must be {kinds[type(default)]}",)) from None


def _switch(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _ON | _OFF:
        raise ConfigError((f"{variable} must be on or off",))
    return word in _ON


def _unknown_variables(given: Mapping[str, str], settings: Iterable[str]) -> Iterator[str]:
    """Find spelling mistakes: a setting that is silently not applied is worse than an error."""
    known = {name for setting in settings for name in _candidates(setting)}
    for name in sorted(given):
        if name.startswith(PREFIX) and name not in known | FOREIGN_NAMES:
            close = _nearest(name, [other for other in known if other.startswith(PREFIX)])
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            yield f"{name} is no setting of miros_mesh{hint}"


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the variables that may have been meant, at most three, the nearest first.

    A name that lacks words is compared by those that it has: a hint that is followed must not
    set the key of another network.
    """
    # Without the prefix, which all of them share and which would make all of them alike.
    wrong = name.removeprefix(PREFIX)
    scores: dict[str, tuple[float, float]] = {}
    for other in sorted(known):
        right = other.removeprefix(PREFIX)
        words = [
            max(_likeness(word, each) for each in right.split("_")) for word in wrong.split("_")
        ]
        whole = _likeness(wrong, right)
        scores[other] = max(whole, sum(words) / len(words)), whole
    ranked = sorted(scores, key=lambda other: scores[other], reverse=True)
    best = scores[ranked[0]][0] if ranked else 0.0
    least = max(_ALIKE, best - _NEARLY)
    near = [other for other in ranked if scores[other][0] >= least]
    # A hint with _FILE beside the same one without it says nothing new.
    plain = [n for at, n in enumerate(near) if n.removesuffix("_FILE") not in near[:at]]
    # A key itself belongs into no setting that names a file.
    names_file = any(_likeness(word, "FILE") > _ALIKE for word in wrong.split("_"))
    values = [n for n in plain if names_file or not n.endswith("_FILE")]
    return (values or plain)[:_MOST_HINTS]


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
