"""`serve`: the page of the mesh beside a program, until it is stopped."""

from __future__ import annotations

from functools import partial

from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.observe.page.board import MAX_CHARTS
from miros_mesh.observe.page.letters import Allowed
from miros_mesh.observe.page.rolls import Rolls
from miros_mesh.observe.page.server import PORT, WAITING, PageServer, Parts
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.overview import Overview


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
    config = config or MeshConfig.from_env()
    overview = Overview(config)
    parts = Parts(
        overview,
        SnoopMonitor(config, max_items=WAITING, max_charts=MAX_CHARTS),
        Rolls(config, overview.clock),
        partial(DeadLetters, config),
    )
    allowed = Allowed(actions=allow_actions, payloads=allow_payloads)
    return PageServer(parts, port, address=address, token=token, allowed=allowed)
