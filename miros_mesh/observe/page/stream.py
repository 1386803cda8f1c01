"""What a browser is told as it happens: server-sent events, as many as it can follow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from miros_mesh.observe.page.board import Board

# A browser draws so many a second with ease; the rest is counted, and said to be left out.
MOMENTS_PER_S: Final = 200
_EVERY_S: Final = 0.25
_MESH_EVERY: Final = 4


def events(board: Board, ended: threading.Event) -> Iterator[bytes]:
    """Yield the mesh once a second and what charts do four times as often, until `ended`.

    Nothing is queued for a reader: one that is slow is told less often, and which moments it
    missed counts as left out.
    """
    total, turn = board.moments, 0
    while not ended.is_set():
        if turn % _MESH_EVERY == 0:
            yield event("mesh", board.mesh())
        moments, left_out, total = board.moments_since(total, int(MOMENTS_PER_S * _EVERY_S))
        if moments or left_out:
            yield event("moments", {"moments": moments, "left_out": left_out})
        turn += 1
        ended.wait(_EVERY_S)


def event(kind: str, data: Any) -> bytes:
    """Return a server-sent event; JSON has no new line, which would end the field."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class Readers:
    """How many streams are read at a time: each holds a thread and a connection."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def admit(self, stream: Callable[[], Iterator[bytes]]) -> Iterator[bytes] | None:
        """Return the stream, whose end or `close` makes room again; None when there is none."""
        if not self._free.acquire(blocking=False):
            return None
        return _Held(stream(), self._free.release)


class _Held:
    """An iterator that gives its place back once, when it is closed (PEP 3333)."""

    def __init__(self, stream: Iterator[bytes], release: Callable[[], object]) -> None:
        self._stream = stream
        self._release = release
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._stream

    def __next__(self) -> bytes:
        return next(self._stream)

    def close(self) -> None:
        """Give the place back; a second call does nothing."""
        if self._open:
            self._open = False
            self._release()
