"""`miros-mesh discover`: who is out there, said while it looks, and as a table at the end."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from miros_mesh.address import Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.ports import DiscoveryObserver
from miros_mesh.discovery.sources.name_service import LOOKUP_TIMEOUT_S, SystemNames
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import ConfigError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import LinkSettings
from miros_mesh.lookups import Lookups
from miros_mesh.node.discovery_bridge import LinkProbe, settings_of
from miros_mesh.observer import Observer
from miros_mesh.statechart import signal_table

NODE = "discover"
OWN = "own"
"""What stands for `ours` at the broker of the settings themselves."""
_STOP_LIMIT_S = 5.0
_HEADER = ("address", "found by", "verdict", "ms")


@dataclass(frozen=True)
class Sighting:
    """One address that was looked at, and what is there."""

    address: str
    found_by: str
    verdict: str
    milliseconds: float


def discover(
    environ: Mapping[str, str],
    *,
    broker_url: str | None,
    sources: Sequence[str] | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Look once with every source; 0 when a broker of our mesh was found beside the own one."""
    config = _config(environ, broker_url, sources)
    signal_table.guard()
    home = Home(settings_of(config, NODE).home)
    report = Report(config.discovery_sources, home, talks=sys.stderr.isatty() or not as_json)
    _say_missing_files(config, report)
    if addresses.lan_is_off() and "lan" in config.discovery_sources:
        report.say(f"{addresses.LAN_VARIABLE}=off: the local network is not looked at")
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
    """Whether every source has looked once."""
    link = amqp_link(_link_settings(config))
    with tempfile.TemporaryDirectory("", "mesh-discover-", ignore_cleanup_errors=True) as folder:
        # The nodes' cache would only repeat what was found before; strangers do not speak to us.
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
            search.stop(_STOP_LIMIT_S)
            link.close()


def _link_settings(config: MeshConfig) -> LinkSettings:
    return LinkSettings(
        node=NODE,
        exchanges=(),
        observer=Observer(),
        attempts=config.connection_attempts,
        connect_timeout_s=config.connect_timeout_s,
        heartbeat_interval_s=config.heartbeat_interval_s,
        confirm_timeout_s=config.confirm_timeout_s,
        confirm_window=config.confirm_window,
        outbox_events=config.outbox_events,
        outbox_bytes=config.outbox_bytes,
    )


class Home:
    """The broker of the settings, however a source names it."""

    def __init__(self, brokers: Sequence[Endpoint]) -> None:
        self._lookups = Lookups("mesh-discover-names")
        self._names = SystemNames()
        self._own = addresses.own_addresses()
        self._ports = {each.port for each in brokers}
        self._places: set[Endpoint] | None = None
        self._brokers = brokers

    def has(self, host: str) -> bool:
        """Whether a host is it; takes a look-up of each name."""
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
        """It and what its name stands for; a name that cannot be looked up stands for itself."""
        found: Sequence[Endpoint] = ()
        if not endpoint.ip:
            with contextlib.suppress(OSError):
                found = self._lookups.result(
                    endpoint.host,
                    lambda: self._names.endpoints(endpoint.host, endpoint.port),
                    LOOKUP_TIMEOUT_S,
                )
        return frozenset({endpoint.host, *(each.host for each in found)})


class Report(DiscoveryObserver):
    """Notes what the searches see, and says it while they look."""

    def __init__(self, sources: Sequence[str], home: Home, *, talks: bool) -> None:
        self._missing = set(sources)
        self._home = home
        self._talks = talks
        self._sightings: dict[tuple[str, str], Sighting] = {}
        self._all_searched = threading.Event()
        self._lock = threading.Lock()

    @property
    def sightings(self) -> list[Sighting]:
        """What was seen, ours first."""
        with self._lock:
            seen = list(self._sightings.values())
        return sorted(seen, key=lambda each: (each.verdict != Verdict.OURS, each.address))

    def wait(self, timeout_s: float) -> bool:
        """Wait until every source has looked once; whether they have."""
        return self._all_searched.wait(timeout_s)

    def say(self, text: str) -> None:
        """A line on standard error, so that the result can be read by a program."""
        if self._talks:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def scouted(self, *, source: str, host: str, verdict: Verdict, seconds: float) -> None:
        # Refused by the own broker is worth to be known; that it has our mesh goes without saying.
        own = verdict is Verdict.OURS and self._home.has(host)
        word = OWN if own else str(verdict)
        sighting = Sighting(host, source, word, round(seconds * 1000, 1))
        with self._lock:
            self._sightings[host, source] = sighting
        self.say(f"{source:7} {host:22} {word}")

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        with self._lock:
            own = sum(e.found_by == source and e.verdict == OWN for e in self._sightings.values())
        self.say(f"{source:7} done: {found - own} of our mesh in {seconds:.1f} s")
        with self._lock:
            self._missing.discard(source)
            if not self._missing:
                self._all_searched.set()

    def found(self, endpoint: Endpoint) -> None:
        """Seen already when it was looked at."""

    def lost(self, endpoint: Endpoint) -> None:
        """Nothing is kept long enough to be lost."""


def _config(
    environ: Mapping[str, str], broker_url: str | None, sources: Sequence[str] | None
) -> MeshConfig:
    config = MeshConfig.from_env(
        environ, broker_url=broker_url, discovery=tuple(sources) if sources else None
    )
    if not config.brokers:
        raise ConfigError(
            ("discover needs a RabbitMQ's user and password: RABBIT_USER, or --broker URL",)
        )
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
    ours = {each.address for each in found if each.verdict == Verdict.OURS}
    end = "" if complete else "; the time was too short for all"
    own = ", and our own" if any(each.verdict == OWN for each in found) else ""
    return f"\n{len(ours)} of our mesh{own}, {len(found)} looked at in {seconds:.1f} s{end}"
