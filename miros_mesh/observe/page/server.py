"""The page's server: the board, the app and the socket put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, NamedTuple, Self

from miros_mesh.errors import ListenError
from miros_mesh.observe.http_server import AppServer
from miros_mesh.observe.page.access import LEAST_TOKEN, Access, new_token
from miros_mesh.observe.page.app import PageApp
from miros_mesh.observe.page.board import Board, Records, RollCall, Statuses
from miros_mesh.observe.page.letters import Allowed, Box, LetterDesk

PORT: Final = 8470
# Records for the thread that counts: at 5,000 a second those of four seconds.
WAITING: Final = 20_000
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Parts(NamedTuple):
    """What listens to the mesh for a page, and what opens its dead letters."""

    overview: Statuses
    monitor: Records
    rolls: RollCall
    letters: Callable[[], AbstractContextManager[Box]]


class PageServer:
    """The page of a mesh behind a socket, on threads of its own; a context manager that stops it.

    The constructor listens and joins the mesh. It raises what `serve` raises.
    """

    def __init__(
        self,
        parts: Parts,
        port: int,
        *,
        address: str = "127.0.0.1",
        token: str | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        self._token = new_token() if token is None else _checked(token)
        self._board = Board(parts.overview, parts.monitor, parts.rolls)
        access = Access(self._token, loopback=address in _LOOPBACK)
        desk = LetterDesk(parts.letters)
        self._app = PageApp(self._board, desk, access, allowed or Allowed())
        # First the port: one that is taken is told before the mesh is joined.
        self._server = AppServer(self._app, port, address, "page")
        try:
            self._board.start()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> int:
        """The TCP port that it listens at, also when 0 was asked for."""
        return self._server.port

    @property
    def url(self) -> str:
        """The whole address of the page, its token in it: who has it sees the mesh.

        The token stands behind a `#`, so a browser sends it to no server with the address.
        """
        return f"{self._server.url}/#token={self._token}"

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<PageServer {self._server.url}>"

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End what is streamed, close the socket, leave the mesh. A second call does nothing."""
        self._app.ended.set()
        self._server.stop()
        self._board.stop()


def _checked(token: str) -> str:
    if len(token) < LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ListenError(
            f"the token of the page is {LEAST_TOKEN} characters of ASCII at least, and no space: "
            "let one be made, or take the output of `openssl rand -hex 16`"
        )
    return token
