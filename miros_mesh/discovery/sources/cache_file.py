"""`CacheFileChart`: a JSON file as a chart, for thousands of programs at the same time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from miros import Event

from miros_mesh.discovery.chart import ENTRY, EXIT, DiscoveryChart, on
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.settings import LAN_CACHE_FILE
from miros_mesh.discovery.signals import (
    CACHE,
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CacheReadPayload,
    CacheWritePayload,
)
from miros_mesh.discovery.sources.json_file import (
    FOREIGN,
    Content,
    JsonFile,
    Lock,
    Object,
    anything,
    merged,
)
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# Hundreds of processes may write before this one; if that takes longer, one of them hangs.
LOCK_TIMEOUT_S: Final = 30.0


class CacheFileChart(DiscoveryChart):
    """Reads and writes one JSON file on request.

    Where a write has to wait for the file's lock a thread waits, the chart does not.
    """

    NEST = (
        ("file_access_waiting", None),
        ("file_accessed", "file_access_waiting"),
        ("file_read", "file_accessed"),
        ("file_write", "file_accessed"),
    )
    HEARS = (CACHE_FILE_READ, CACHE_FILE_WRITE)
    READS = FORMS
    PUBLISHES = (CACHE,)

    def __init__(
        self,
        file_path: Path | str = LAN_CACHE_FILE,
        *,
        default_json: str = "",
        ours: Callable[[Object], bool] = anything,
        tidy: Callable[[Object], Object] = lambda data: data,
        foreign: str = FOREIGN,
        only_by_name: bool = False,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
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
            foreign=foreign,
        )
        # A write that names no file is not for this one.
        self._only_by_name = only_by_name
        self._lock_timeout_s = lock_timeout_s
        # Requests to read since the last read began; `_reading`: `file_read` is posted for them.
        self._reads = 0
        self._reading = False
        # What the next write has to merge, and what the present one does.
        self._updates: Object = {}
        self._written: Object = {}
        # `_waiting`: a write wants the lock, for the `_waits`-th time. `_queued`: a thread waits
        # for it, which cannot be ended and may outlast the write.
        self._waiting = False
        self._waits = 0
        self._queued = False
        # From `file_write_wanted` to the entry of `file_write`, in one step of the chart.
        self._lock: Lock | None = None
        self._complained = False
        self.begin()

    @property
    def idle(self) -> bool:
        """Whether everything asked for so far has been read or written."""
        return not (self._reads or self._updates or self._written or len(self.queue))

    @on("file_access_waiting", CACHE_FILE_READ)
    def ask_to_read(self, event: Event) -> None:
        if self._meant(event.payload.file_name):
            # One read answers all requests that came before it began.
            self._reads += 1
            if not self._reading:
                self._reading = True
                self.post_fifo(Event(signal="file_read"))

    @on("file_access_waiting", CACHE_FILE_WRITE)
    def ask_to_write(self, event: Event) -> None:
        update: CacheWritePayload = event.payload
        if self._meant(update.file_name) and (update.file_name or not self._only_by_name):
            # All that waits is one write; the newer value wins, as it would in two.
            self._updates = merged(self._updates, update.dict)
            if not self._waiting:
                self._waiting = True
                self._wait_for_lock()

    @on("file_access_waiting", "file_read", to="file_read")
    def file_read_wanted(self, _: Event) -> str:
        return "file_read"

    @on("file_access_waiting", "file_write", to="file_write")
    def file_write_wanted(self, event: Event) -> str | None:
        got: Lock | Exception = event.payload
        # That thread has ended, whether its lock is still wanted or not.
        self._queued = False
        if isinstance(got, Exception):
            self._give_up(got)
        elif self._waiting:
            self._waiting = False
            self.cancel("lock_overdue")
            self._lock = got
            return "file_write"
        else:
            # The write that wanted it has been given up meanwhile.
            got.release()
        return None

    @on("file_access_waiting", "lock_overdue")
    def lock_overdue(self, event: Event) -> None:
        # The number tells an alarm of an earlier wait, which was posted just before its end.
        if self._waiting and event.payload == self._waits:
            limit_s = self._lock_timeout_s
            self._give_up(TimeoutError(f"its lock was not free within {limit_s:g} s"))

    @on("file_accessed", "file_read")
    @on("file_accessed", "file_write")
    def one_at_a_time(self, event: Event) -> None:
        self.defer(event)

    @on("file_accessed", EXIT)
    def file_accessed_exit(self, _: Event) -> None:
        # Nothing is held here as a rule: `_write` releases it on its thread.
        self._release()
        while self.defer_queue:
            self.recall()

    @on("file_read", ENTRY)
    def file_read_entry(self, _: Event) -> None:
        self._reads, self._reading = 0, False
        self.threads.local.run(self._file.read, lambda got: self.tell("read_successful", got))

    @on("file_read", "read_successful", to="file_access_waiting")
    def read_successful(self, event: Event) -> str:
        self._publish_cache(self._content(event.payload))
        return "file_access_waiting"

    @on("file_write", ENTRY)
    def file_write_entry(self, _: Event) -> None:
        # What is asked for from here on is merged by the next write.
        update, self._updates = self._updates, {}
        self._written = update
        lock, self._lock = self._lock, None
        self.threads.local.run(
            lambda: self._write(update, lock), lambda got: self.tell("write_successful", got)
        )

    @on("file_write", "write_successful", to="file_access_waiting")
    def write_successful(self, event: Event) -> str:
        # Also after an error: the content is a cache, and a write is not repeated.
        self._written = {}
        if isinstance(event.payload, Exception):
            self._complain(event.payload)
        return "file_access_waiting"

    def _write(self, update: Object, lock: Lock | None) -> None:
        # Released here and not later by the chart: hundreds of processes may wait for it.
        try:
            self._file.merge(update)
        finally:
            if lock:
                lock.release()

    def left_unhandled(self, event: Event) -> bool:
        # Else other processes would wait until this object is garbage.
        if type(event.payload) is not Lock:
            return False
        event.payload.release()
        return True

    def stop_children(self) -> None:
        # Such an event may hold a lock too, which came during a read.
        for event in self.defer_queue:
            self.left_unhandled(event)
        self._release()

    def renew(self) -> None:
        # `stop_children` has released the locks in it, and the rest asks for what comes now.
        self.defer_queue.clear()
        # The answer to what was being read may be lost. To read once too often is harmless.
        self._reads, self._reading = 1, True
        self.post_fifo(Event(signal="file_read"))
        # An event with a lock may have been dropped: a thread more waits for the lock.
        self._waiting, self._queued = False, False
        self._updates = merged(self._written, self._updates)
        self._written = {}
        if self._updates:
            self._waiting = True
            self._wait_for_lock()

    def _meant(self, file_name: str) -> bool:
        # A program may give the path or the name alone; without any it means every file.
        return file_name in ("", self.file_name, self.name)

    def _wait_for_lock(self) -> None:
        # One such thread at most, however many writes have been given up meanwhile.
        if not self._queued:
            self._queued = True
            self.threads.aside(self._file.lock, self._got_lock)
        self._waits += 1
        self.later("lock_overdue", self._lock_timeout_s, self._waits)

    def _got_lock(self, got: Lock | Exception) -> None:
        # On the thread that waited. A chart that has stopped takes nothing any more.
        if not self.tell("file_write", got) and isinstance(got, Lock):
            got.release()

    def _release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def _give_up(self, error: Exception) -> None:
        """Drop the updates, log the error once, and go on without the file."""
        self._waiting = False
        self._updates = {}
        self._complain(error)

    def _content(self, got: Content | Exception) -> Content:
        if isinstance(got, Exception):
            self._complain(got)
            return Content(self._file.default)
        return got

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.error(
                "%s cannot be used, the node goes on without it; said once: %s",
                self._file.path,
                error,
            )

    def _publish_cache(self, content: Content) -> None:
        payload = CacheReadPayload(
            dict=content.data,
            last_modified=content.modified_at,
            created_at=content.created_at,
            expired=expired(content),
            file_name=self.file_name,
            there=content.there,
            origin=self.origin,
        )
        self.publish(Event(signal=CACHE, payload=payload))


def expired(content: Content) -> bool:
    """Return whether the file is older than its own `time_out_in_minutes` allows."""
    # `bool` is a kind of `int`, and no number of minutes. Without the field a file is expired.
    minutes = content.data.get("time_out_in_minutes", 0)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float):
        return True
    age_s = time.time() - content.modified_at
    return not 0 <= age_s < minutes * 60
