"""What a browser is told as it happens: server-sent events, as many as it can follow."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

from miros_mesh.observe.page.board import Board
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# A browser draws so many a second with ease; the rest is counted, and said to be left out.
MOMENTS_PER_S: Final = 200
_EVERY_S: Final = 0.25
_MESH_EVERY: Final = 4


def events(board: Board, ended: threading.Event) -> Generator[bytes, None, None]:
    """Yield the mesh once a second and what charts do four times as often, until `ended`.

    Nothing is queued for a reader: one that is slow is told less often, and which moments it
    missed counts as left out.
    """
    total, turn, told = board.moments, 0, time.monotonic() - _EVERY_S
    while not ended.is_set():
        if turn % _MESH_EVERY == 0:
            yield event("mesh", board.mesh())
        moments, left_out, total = board.moments_since(total, int(MOMENTS_PER_S * _EVERY_S))
        if moments or left_out:
            before, told = told, time.monotonic()
            said = {"moments": moments, "left_out": left_out, "seconds": told - before}
            yield event("moments", said)
        turn += 1
        ended.wait(_EVERY_S)


def event(kind: str, data: Any) -> bytes:
    """Return a server-sent event; JSON has no new line, which would end the field."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class Told:
    """A stream for one reader; `close` gives its place back, once (PEP 3333)."""

    def __init__(self, stream: Generator[bytes, None, None], release: Callable[[], object]) -> None:
        self._stream = stream
        self._release = release
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception:
            # Else it would end in the server's hands, which says nothing.
            logger.exception("a stream of the page has ended; the browser begins anew")

    def close(self) -> None:
        """End it and give its place back; a second call does nothing."""
        if self._open:
            self._open = False
            self._stream.close()
            self._release()


class Readers:
    """How many streams are read at a time: each holds a thread and a connection."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def admit(self, stream: Callable[[], Generator[bytes, None, None]]) -> Told | None:
        """Return the stream, whose end or `close` makes room again; None when there is none."""
        if not self._free.acquire(blocking=False):
            return None
        return Told(stream(), self._free.release)
