"""`miros-mesh page`: serve the page of the mesh until interrupted."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from miros_mesh.cli.options import LONGEST_RUN_S, Commands, add_broker, seconds_up_to
from miros_mesh.cli.page.opening import opened
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.errors import SecretFileError
from miros_mesh.observe.page.board import MAX_CHARTS
from miros_mesh.observe.page.letters import Allowed
from miros_mesh.observe.page.rolls import Rolls
from miros_mesh.observe.page.server import PORT, WAITING, PageServer, Parts
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.service.sigterm import stop_on_sigterm

_HELP = """\
Serve one page that shows the mesh at work: who is there, what flows, what waits for what, each
chart's states, the sequence of the last minute, dead letters. It prints the page's address, with a
token in it: who has that address sees what this page shows. Ctrl-C ends it.

Only programs of this machine can connect, unless --address says otherwise; HTTP is not encrypted,
so for another machine take an ssh tunnel (ssh -L 8470:127.0.0.1:8470 HOST) or a proxy with TLS.
The page looks, and changes nothing, unless --allow-actions lets it put dead letters back and drop
them. It shows no payload, unless --allow-payloads lets it.
"""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "page",
        help="the mesh at work, in a browser",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_broker(parser, "the mesh at this broker")
    option = parser.add_argument
    option("--port", type=int, default=PORT, help="default %(default)s; 0 takes a free one")
    option("--address", default="127.0.0.1", help="of which network; default %(default)s")
    option(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the token, in a file that only you may read; default: a new one",
    )
    option("--allow-actions", action="store_true", help="dead letters may be put back and dropped")
    option("--allow-payloads", action="store_true", help="payloads of dead letters may be shown")
    option("--open", action="store_true", help="open it in the browser of this desktop")
    option(
        "--seconds",
        type=seconds_up_to(LONGEST_RUN_S),
        metavar="N",
        help="end after so long; default: never",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    config = MeshConfig.from_env(os.environ, broker_url=options.broker)
    token = _token(options)
    allowed = Allowed(actions=options.allow_actions, payloads=options.allow_payloads)
    # So that a SIGTERM leaves the mesh in good order, as Ctrl-C does.
    stop_on_sigterm()
    with PageServer(
        _parts(config), options.port, address=options.address, token=token, allowed=allowed
    ) as page:
        sys.stdout.write(f"{page.url}\n")
        sys.stdout.flush()
        with opened(page.url) if options.open else nullcontext():
            threading.Event().wait(options.seconds)
    return 0


def _parts(config: MeshConfig) -> Parts:
    # As `serve` does, which would make the chain of imports from the command longer than it may be.
    overview = Overview(config)
    return Parts(
        overview,
        SnoopMonitor(config, max_items=WAITING, max_charts=MAX_CHARTS),
        Rolls(config, overview.clock),
        partial(DeadLetters, config),
    )


def _token(options: argparse.Namespace) -> str | None:
    """Return the token of the file; exit with the usage for a file of no use."""
    if options.token_file is None:
        return None
    try:
        return SecretFile(options.token_file).read()
    except SecretFileError as error:
        parser: argparse.ArgumentParser = options.parser
        parser.error(f"--token-file {error}")
