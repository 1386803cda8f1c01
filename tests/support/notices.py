"""What systemd would be told: a datagram socket of a test's own at `$NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_until


class Notices:
    """Takes messages at a path, or at an abstract address, while its `with` block goes on."""

    def __init__(self, folder: Path | None = None) -> None:
        name = f"mesh-notices-{secrets.token_hex(8)}"
        self.address = f"{folder}/notify" if folder else f"@{name}"
        """For `$NOTIFY_SOCKET`."""
        self.told: list[str] = []
        """Each line that came, in order."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        self._socket.bind(self.address.replace("@", "\0"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def read(self) -> list[str]:
        """All lines until now that were not forgotten."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told += self._socket.recv(4096).decode().split("\n")
        return self.told

    def wait_for(self, line: str, limit_s: float = 10.0) -> None:
        """Wait until a line came that begins so, and forget all up to it."""
        wait_until(lambda: self._index(line) >= 0, limit_s, message=f"{line} of {self.told}")
        del self.told[: self._index(line) + 1]

    def silent_about(self, line: str, for_s: float) -> bool:
        """Whether for so long no line comes that begins so; from now on."""
        self.read()
        self.told.clear()
        end = time.monotonic() + for_s
        wait_until(lambda: self._index(line) >= 0 or time.monotonic() > end, for_s + 10)
        return self._index(line) < 0

    def _index(self, line: str) -> int:
        return next((n for n, each in enumerate(self.read()) if each.startswith(line)), -1)
