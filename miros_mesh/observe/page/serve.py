"""`serve`: the page of the mesh beside a program, until it is stopped."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ListenError
from miros_mesh.observe.http_server import AppServer
from miros_mesh.observe.page.access import LEAST_TOKEN, Access, new_token
from miros_mesh.observe.page.app import PageApp
from miros_mesh.observe.page.board import Board
from miros_mesh.observe.page.letters import Allowed, LetterDesk

PORT: Final = 8470
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class PageServer:
    """The page's board and its server; a context manager that stops both."""

    def __init__(
        self,
        board: Board,
        app: PageApp,
        token: str,
        port: int,
        address: str,
    ) -> None:
        self._board = board
        self._app = app
        self._token = token
        self._server = AppServer(app, port, address, "page")

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


def serve(
    port: int = PORT,
    *,
    config: MeshConfig | None = None,
    address: str = "127.0.0.1",
    token: str | None = None,
    allow_actions: bool = False,
    allow_payloads: bool = False,
) -> PageServer:
    """Join the mesh and serve its page until the server's `stop`.

    Args:
        port: where to listen; 0 takes a free one.
        config: where the mesh is, and its keys; None takes the environment's settings.
        address: of which network; by default programs of this machine alone can connect. HTTP is
            not encrypted: for another address put a proxy with TLS in front.
        token: what a browser has to know; None makes one, which is in `url`.
        allow_actions: whether dead letters may be put back and dropped by the page.
        allow_payloads: whether the payloads of dead letters may be shown.

    Raises:
        ListenError: the port or the address cannot be had (`PortInUseError`), or the token is
            shorter than 16 characters.
        LinkError: the mesh cannot be joined; `ConfigError` for settings that cannot work.
    """
    if token is None:
        token = new_token()
    elif len(token) < LEAST_TOKEN or not (token.isascii() and token.isprintable()):
        raise ListenError(
            f"the token of the page is {LEAST_TOKEN} characters of ASCII at least: let one be "
            "made, or take the output of `openssl rand -hex 16`"
        )
    config = config or MeshConfig.from_env()
    board = Board(config)
    access = Access(token, loopback=address in _LOOPBACK)
    allowed = Allowed(actions=allow_actions, payloads=allow_payloads)
    app = PageApp(board, LetterDesk(config), access, allowed)
    # First the port: one that is taken is told before the mesh is joined.
    server = PageServer(board, app, token, port, address)
    try:
        board.start()
    except BaseException:
        server.stop()
        raise
    return server
