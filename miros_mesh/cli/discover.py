"""`miros-mesh discover`: what each source finds, while it looks and as a table at the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from miros_mesh.address import Endpoint
from miros_mesh.cli.options import BrokerOption, Commands, add_broker, seconds_up_to
from miros_mesh.config.settings import DiscoverySource, MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.sources.name_service import LOOKUP_TIMEOUT_S, SystemNames
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import ConfigError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.node.link_settings import link_settings
from miros_mesh.node.search.link_probe import LinkProbe
from miros_mesh.node.search.settings import settings_of
from miros_mesh.observer import Observer
from miros_mesh.timing.lookups import Lookups

NODE = "discover"
OWN = "own"
"""What stands for `ours` at the broker of the settings themselves."""
LONGEST_SEARCH_S = 600
_STOP_LIMIT_S = 5.0
_HEADER = ("address", "found by", "verdict", "ms")

_HELP = """\
Look for the brokers of other hosts, as a node with these settings would, and say what is there.
Nothing is joined and nothing is declared. Progress goes to standard error (with --json only if that
is a terminal), the table or the JSON to standard output. Exit code 0 if a broker of our mesh was
found beside our own, 1 if not.

What is sent: manual logs in at each host of the hosts file; lan opens a TCP connection to the
broker's port at up to 1,024 addresses of this host's own private networks, whatever the cache says,
and logs in where a port answers; dns asks the name server, and logs in at what it names. A login
without TLS shows user and password to what listens there. MIROS_MESH_LAN=off switches lan off,
whatever is asked for here.

Verdicts, and what to do:
  ours         a broker with our mesh: nothing to do
  own          the broker of these settings: nothing to do; it is not counted
  nothing      nothing answers there: is the broker up, the port open, the address right?
  not_amqp     something else listens there: correct the port
  certificate  its TLS certificate is not for this address, not valid now, or no known authority
               signed it: renew it, or give the authority (broker_ca_file)
  no_tls       it speaks no TLS at this port, and got no password: use its TLS port, mostly 5671
  client_certificate
               it refuses our certificate or misses one: correct broker_cert_file
  tls          the TLS handshake fails for another reason: the log of the broker says why
  credentials  it refuses user or password: make the user there, or correct the settings
  no_mesh      a broker without our mesh: start a node there, allow the user the virtual host
  other_key    a mesh of another key: give both the same MIROS_MESH_ENCRYPTION_KEY
  full         it allows no more connections, or the user no more: raise max-connections there
  failed       the look itself failed: try again, the log says why
"""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "discover",
        help="which brokers of other hosts would a node find, and what are the others?",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_broker(parser, "the credentials to look with")
    parser.add_argument(
        "--sources", type=_sources, metavar="manual,lan,dns", help="default: those of the settings"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_up_to(LONGEST_SEARCH_S),
        default=30.0,
        metavar="SECONDS",
        help=f"how long at most, 1 to {LONGEST_SEARCH_S} (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=_run)


def _sources(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    known = get_args(DiscoverySource)
    if wrong := [word for word in words if word not in known]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is no source; known: {', '.join(known)}")
    return words


def _run(options: argparse.Namespace) -> int:
    return discover(
        os.environ,
        broker_url=options.broker,
        sources=options.sources,
        timeout_s=options.timeout,
        as_json=options.json,
    )


@dataclass(frozen=True)
class Sighting:
    """One address that was looked at, and what was found there."""

    address: str
    found_by: str
    verdict: str
    milliseconds: float


def discover(
    environ: Mapping[str, str],
    *,
    broker_url: BrokerOption,
    sources: Sequence[str] | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Look once with every source.

    Returns 0 when a broker of our mesh was found beside that of the settings, else 1. Raises
    `ConfigError`.
    """
    config = _config(environ, broker_url, sources)
    home = Home(settings_of(config, NODE).home)
    report = Report(config.discovery_sources, home, talks=sys.stderr.isatty() or not as_json)
    _say_missing_files(config, report)
    if addresses.lan_is_off() and "lan" in config.discovery_sources:
        report.say(f"{addresses.LAN_VARIABLE}=off: the local network is not searched")
        # Or the end would be waited for until the time is over: no search reports this source.
        report.searched(source="lan", found=0, seconds=0.0)
    began = time.monotonic()
    complete = _look(config, report, timeout_s)
    seconds = time.monotonic() - began
    found = report.sightings
    if as_json:
        facts = {"complete": complete, "seconds": round(seconds, 3)}
        told = {**facts, "addresses": [asdict(each) for each in found]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(_table(found) + "\n")
        sys.stdout.write(_conclusion(found, complete=complete, seconds=seconds) + "\n")
    return 0 if any(each.verdict == Verdict.OURS for each in found) else 1


def _say_missing_files(config: MeshConfig, report: Report) -> None:
    files = settings_of(config, NODE).hosts_files
    if "manual" in config.discovery_sources and not any(file.exists() for file in files):
        report.say(f"manual  no hosts file: looked for {', '.join(map(str, files))}")


def _look(config: MeshConfig, report: Report, timeout_s: float) -> bool:
    """Search until every source has looked once; whether they have within `timeout_s`."""
    # No exchange, so nothing is declared at a broker that is only looked at. Its observer hears
    # nothing: a connection of this program is no connection of a node.
    link = amqp_link(link_settings(config, node=NODE, exchanges=(), observer=Observer()))
    with tempfile.TemporaryDirectory("", "mesh-discover-", ignore_cleanup_errors=True) as folder:
        # The nodes' cache would repeat what was found before. No node speaks to this program.
        settings = replace(
            settings_of(config, NODE),
            cache_path=Path(folder) / "cache.json",
            aliens="ignore",
            home=(),
        )
        search = Discovery(settings, probe=LinkProbe(config, link), sink=report, observer=report)
        search.start()
        try:
            return report.wait(timeout_s)
        finally:
            # Before the link, through which its scouts look.
            search.stop(_STOP_LIMIT_S)
            link.close()


class Home:
    """Recognises the broker of the settings under every name that a source gives it."""

    def __init__(self, brokers: Sequence[Endpoint]) -> None:
        self._lookups = Lookups("mesh-discover-names")
        self._names = SystemNames()
        self._own = addresses.own_addresses()
        self._ports = {each.port for each in brokers}
        # Made at the first question, since that looks names up. Threads that ask at the same time
        # may each make it; what they make is the same.
        self._places: set[Endpoint] | None = None
        self._brokers = brokers

    def has(self, host: str) -> bool:
        """Return whether a host is that broker; looks each name up, for some seconds at most."""
        endpoint = Endpoint.parse(host, self._brokers[0].port)
        if endpoint.port not in self._ports:
            return False
        if self._places is None:
            self._places = {
                Endpoint(each, home.port)
                for home in self._brokers
                for each in addresses.with_own(self._addresses(home), self._own)
            }
        return any(
            Endpoint(each, endpoint.port) in self._places for each in self._addresses(endpoint)
        )

    def _addresses(self, endpoint: Endpoint) -> frozenset[str]:
        """Return a host with what its name stands for; a failed look-up leaves the name alone."""
        found: Sequence[Endpoint] = ()
        if not endpoint.ip:
            with contextlib.suppress(OSError):
                found = self._lookups.result(
                    endpoint.host,
                    lambda: self._names.endpoints(endpoint.host, endpoint.port),
                    LOOKUP_TIMEOUT_S,
                )
        return frozenset({endpoint.host, *(each.host for each in found)})


class Report(Observer):
    """Notes what the searches find, and prints it while they look. Also the `PeerSink`."""

    def __init__(self, sources: Sequence[str], home: Home, *, talks: bool) -> None:
        self._home = home
        self._talks = talks
        self._all_searched = threading.Event()
        # Guards the fields below: charts of several threads report.
        self._lock = threading.Lock()
        self._missing = set(sources)
        # By address and source, the latest: an address that two sources name is shown for each.
        self._sightings: dict[tuple[str, str], Sighting] = {}

    @property
    def sightings(self) -> list[Sighting]:
        """Every address that was looked at, ours first."""
        with self._lock:
            seen = list(self._sightings.values())
        return sorted(seen, key=lambda each: (each.verdict != Verdict.OURS, each.address))

    def wait(self, timeout_s: float) -> bool:
        """Wait until every source has looked once; whether they have within `timeout_s`."""
        return self._all_searched.wait(timeout_s)

    def say(self, text: str) -> None:
        """Print a line on standard error, which leaves standard output to the result."""
        if self._talks:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        # Only `ours` is replaced: that the own broker refuses us, say, is shown as it is.
        # Not under the lock: `has` may take seconds.
        own = verdict == Verdict.OURS and self._home.has(host)
        word = OWN if own else str(verdict)
        sighting = Sighting(host, source, word, round(seconds * 1000, 1))
        with self._lock:
            self._sightings[host, source] = sighting
        self.say(f"{source:7} {host:22} {word}")

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        with self._lock:
            own = sum(e.found_by == source and e.verdict == OWN for e in self._sightings.values())
        # Between the two locks: it may wait for a terminal, and it has to be said before the table,
        # which is printed as soon as `_all_searched` is set.
        self.say(f"{source:7} done: {found - own} of our mesh in {seconds:.1f} s")
        with self._lock:
            self._missing.discard(source)
            if not self._missing:
                self._all_searched.set()

    def found(self, endpoint: Endpoint) -> None:
        """Ignore a broker: `scouted` has noted it."""

    def lost(self, endpoint: Endpoint) -> None:
        """Ignore it: no search lasts long enough for a loss."""


def _config(
    environ: Mapping[str, str], broker_url: BrokerOption, sources: Sequence[str] | None
) -> MeshConfig:
    config = MeshConfig.from_env(
        environ, broker_url=broker_url, discovery=tuple(sources) if sources else None
    )
    if not config.brokers:
        raise ConfigError(
            ("discover needs a RabbitMQ's user and password: RABBIT_USER, or --broker-file FILE",)
        )
    # Settings without a source are good for a node, which then finds no broker by itself.
    if not config.discovery_sources:
        raise ConfigError(("there is no source to look with; name some: --sources manual,lan",))
    return config


def _table(found: Sequence[Sighting]) -> str:
    rows = [(e.address, e.found_by, e.verdict, f"{e.milliseconds:.1f}") for e in found]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (_HEADER, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    *texts, number = row
    cells = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
    return "  ".join([*cells, number.rjust(widths[-1])])


def _conclusion(found: Sequence[Sighting], *, complete: bool, seconds: float) -> str:
    # A set: a broker that two sources found is one.
    ours = {each.address for each in found if each.verdict == Verdict.OURS}
    end = "" if complete else "; the time was too short for all"
    own = ", and our own" if any(each.verdict == OWN for each in found) else ""
    return f"\n{len(ours)} of our mesh{own}, {len(found)} looked at in {seconds:.1f} s{end}"
