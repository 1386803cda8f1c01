"""`miros-mesh top`: the nodes and charts that can be watched, as a live table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import ModuleType

from miros_mesh.cli.options import BrokerOption, Commands, add_broker, wants_color
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import MissingExtraError
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.observe.snoop.views import NO_NODES, NodeView
from miros_mesh.service.sigterm import stop_on_sigterm

# A node sends its status once a second; a rate needs two.
LISTEN_S = 2.5
_NO_RICH = "top draws its table with rich: pip install 'miros-mesh[top]', or use top --json"


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "top",
        help="a live table of nodes and charts",
        description="A live table of the nodes that have a snoop stream enabled, and of their "
        "charts that take part: state, events per second, last event; outbox, brokers. Exit code 1 "
        "if there was none. Needs the extra: pip install 'miros-mesh[top]'.",
    )
    add_broker(parser, "the mesh at this broker")
    parser.add_argument("--once", action="store_true", help="one table; so it is when piped, too")
    parser.add_argument("--json", action="store_true", help="one JSON object, and the end")
    parser.add_argument("--no-color", action="store_true", help="draw without colours")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return top(
        os.environ,
        broker_url=options.broker,
        once=options.once,
        as_json=options.json,
        color=wants_color(options),
    )


def top(
    environ: Mapping[str, str], *, broker_url: BrokerOption, once: bool, as_json: bool, color: bool
) -> int:
    """Show the table until interrupted, or once; return 1 when there was no node to show."""
    config = MeshConfig.from_env(environ, broker_url=broker_url)
    # Before the mesh is joined: without rich there is nothing to join it for.
    drawing = None if as_json else _drawing()
    # SIGTERM then leaves the `with` below as Ctrl-C does, and gives the terminal its screen back.
    stop_on_sigterm()
    with Overview(config) as overview:
        if drawing and sys.stdout.isatty() and not once:
            drawing.follow(drawing.console(color=color), lambda: _look(overview))
        # After the connection: each node sends its status again within a second.
        threading.Event().wait(LISTEN_S)
        # Inside the `with`: a node that has left hears nothing more, and its view grows old.
        nodes, remarks = _look(overview)
    if drawing is None:
        sys.stdout.write(json.dumps({"nodes": [asdict(node) for node in nodes]}) + "\n")
    elif nodes:
        console = drawing.console(color=color)
        console.print(drawing.table(nodes, console.width))
    sys.stdout.flush()
    for line in remarks:
        sys.stderr.write(f"{line}\n")
    return 0 if nodes else 1


def _look(overview: Overview) -> tuple[Sequence[NodeView], Sequence[str]]:
    nodes, refused = overview.nodes, sum(overview.refused.values())
    remarks = [] if nodes else [NO_NODES]
    if outage := overview.outage:
        remarks.append(f"cannot reach {outage[0]}: {outage[1]}; the nodes are those of then")
    if refused:
        remarks.append(
            f"{refused} frames could not be read; is the snoop_trace encryption key theirs?"
        )
    return nodes, remarks


def _drawing() -> ModuleType:
    """Return the module that draws; raise `MissingExtraError` without rich."""
    try:
        from miros_mesh.cli import live_table  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtraError(_NO_RICH) from None
    return live_table
