"""`CacheFileChart`: a JSON file as a chart, for thousands of programs at the same time."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from miros import Event

from miros_mesh.discovery.chart import ENTRY, EXIT, DiscoveryChart, on
from miros_mesh.discovery.json_file import Content, JsonFile, Lock, Object, anything, merged
from miros_mesh.discovery.pauses import between
from miros_mesh.discovery.signals import (
    CACHE,
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CacheReadPayload,
)

logger = logging.getLogger(__name__)

DEFAULT_FILE: Final = ".miros_mesh_cache.json"
SHORTEST_WAIT_S: Final = 0.001
LONGEST_WAIT_S: Final = 5.0
_FIRST_WAIT_S: Final = 0.004


def waiting_time(times: int) -> float:
    """Seconds until the next try after so many failures: random, below a limit that doubles."""
    limit = min(_FIRST_WAIT_S * 2.0 ** min(times, 16), LONGEST_WAIT_S)
    return between(SHORTEST_WAIT_S, limit)


@dataclass(frozen=True)
class Access:
    """A try to get at the file: how many failed before, and what came of it."""

    times: int
    result: Lock | Exception | None = None
    tried: bool = False


class CacheFileChart(DiscoveryChart):
    """Reads and writes one JSON file on request; nobody waits for a lock but by trying again."""

    NEST = (
        ("file_access_waiting", None),
        ("file_accessed", "file_access_waiting"),
        ("file_read", "file_accessed"),
        ("file_write", "file_accessed"),
    )
    HEARS = (CACHE_FILE_READ, CACHE_FILE_WRITE)
    PUBLISHES = (CACHE,)

    def __init__(
        self,
        file_path: Path | str = DEFAULT_FILE,
        *,
        default_json: str = "",
        ours: Callable[[Object], bool] = anything,
        tidy: Callable[[Object], Object] = lambda data: data,
        read_only: bool = False,
        **common: Any,
    ) -> None:
        path = Path(file_path).absolute()
        super().__init__(path.name, **common)
        self.file_name = str(file_path)
        self._file = JsonFile(
            path,
            default=json.loads(default_json or "{}"),
            ours=ours,
            tidy=tidy,
            read_only=read_only,
        )
        self._reads = 0
        self._updates: Object = {}
        self._written: Object = {}
        self._trying: set[str] = set()
        self._lock: Lock | None = None
        self._complained = False
        self.begin()

    @property
    def idle(self) -> bool:
        """Whether everything asked for so far has been read or written."""
        return not (self._reads or self._updates or self._written or len(self.queue))

    @on("file_access_waiting", CACHE_FILE_READ)
    def ask_to_read(self, event: Event) -> None:
        if self._meant(event.payload):
            self._reads += 1
            self._ask("file_read")

    @on("file_access_waiting", CACHE_FILE_WRITE)
    def ask_to_write(self, event: Event) -> None:
        if self._meant(event.payload):
            # What waits goes in one write, and the newer value wins as it would in two.
            self._updates = merged(self._updates, _content_of(event.payload))
            self._ask("file_write")

    @on("file_access_waiting", "file_read", to="file_read")
    def file_read_wanted(self, event: Event) -> str | None:
        return self._admitted("file_read", event.payload)

    @on("file_access_waiting", "file_write", to="file_write")
    def file_write_wanted(self, event: Event) -> str | None:
        return self._admitted("file_write", event.payload)

    @on("file_accessed", "file_read")
    @on("file_accessed", "file_write")
    def one_at_a_time(self, event: Event) -> None:
        self.defer(event)

    @on("file_accessed", EXIT)
    def file_accessed_exit(self, _: Event) -> None:
        _let_go(self._lock)
        self._lock = None
        while self.defer_queue:
            self.recall()

    @on("file_read", ENTRY)
    def file_read_entry(self, _: Event) -> None:
        self._reads = 0
        self.crew.local.run(self._file.read, lambda got: self.tell("read_successful", got))

    @on("file_read", "read_successful", to="file_access_waiting")
    def read_successful(self, event: Event) -> str:
        self._publish_cache(self._content(event.payload))
        return "file_access_waiting"

    @on("file_write", ENTRY)
    def file_write_entry(self, _: Event) -> None:
        update, self._updates = self._updates, {}
        self._written = update
        self.crew.local.run(
            lambda: self._file.merge(update), lambda got: self.tell("write_successful", got)
        )

    @on("file_write", "write_successful", to="file_access_waiting")
    def write_successful(self, event: Event) -> str:
        self._written = {}
        if isinstance(event.payload, Exception):
            self._complain(event.payload)
        return "file_access_waiting"

    def left_unhandled(self, event: Event) -> None:
        if isinstance(event.payload, Access):
            _let_go(event.payload.result)

    def stop_children(self) -> None:
        _let_go(self._lock)
        self._lock = None

    def _meant(self, payload: Any) -> bool:
        wanted = payload.get("file_name") if isinstance(payload, Mapping) else payload
        wanted = getattr(wanted, "file_name", wanted)
        return wanted in (None, self.file_name, self.name)

    def _ask(self, kind: str) -> None:
        if kind not in self._trying:
            self._trying.add(kind)
            self.post_fifo(Event(signal=kind, payload=Access(times=0)))

    def _admitted(self, kind: str, access: Access) -> str | None:
        """Go on to the file with its lock; without it try, later and later."""
        if not access.tried:
            self.crew.local.run(
                lambda: self._file.try_lock(alone=kind == "file_write"),
                lambda result: self._tried(kind, Access(access.times, result, tried=True)),
            )
        elif access.result is None:
            self.later(kind, waiting_time(access.times), Access(access.times + 1))
        elif isinstance(access.result, Exception):
            self._give_up(kind, access.result)
        else:
            self._trying.discard(kind)
            self._lock = access.result
            return kind
        return None

    def _tried(self, kind: str, access: Access) -> None:
        if not self.tell(kind, access):
            _let_go(access.result)

    def _give_up(self, kind: str, error: Exception) -> None:
        """The folder cannot be used: live without the file rather than not at all."""
        self._trying.discard(kind)
        self._complain(error)
        if kind == "file_read":
            self._reads = 0
            self._publish_cache(self._content(error))
        else:
            self._updates = {}

    def _content(self, got: Content | Exception) -> Content:
        if isinstance(got, Exception):
            self._complain(got)
            return Content(self._file.default)
        return got

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.error("%s cannot be used; said once: %s", self._file.path, error)

    def _publish_cache(self, content: Content) -> None:
        payload = CacheReadPayload(
            dict=content.data,
            last_modified=content.modified_at,
            created_at=content.created_at,
            expired=_expired(content),
            file_name=self.file_name,
            origin=self.origin,
        )
        self.publish(Event(signal=CACHE, payload=payload))


def _let_go(lock: Lock | Exception | None) -> None:
    if isinstance(lock, Lock):
        lock.release()


def _content_of(payload: Any) -> Mapping[str, Any]:
    content = payload["dict"] if isinstance(payload, Mapping) else payload.dict
    return dict(content)


def _expired(content: Content) -> bool:
    """Whether the file is older than it says that it may become."""
    minutes = content.data.get("time_out_in_minutes", 0)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float):
        return True
    age_s = time.time() - content.modified_at
    return not 0 <= age_s < minutes * 60
