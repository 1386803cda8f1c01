"""`miros-mesh keys`: which keys each node has and uses, and which step of a rotation may follow."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from miros_mesh.cli.key_steps import NodeKeys, next_steps
from miros_mesh.cli.options import LONGEST_RUN_S, Commands, add_broker, seconds_up_to
from miros_mesh.config.settings import MeshConfig
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observer import Observer
from miros_mesh.text import printable
from miros_mesh.wire.envelope import KeyedRoll, NodeRoll

# Two rolls of each node, of which the second one may be late.
_LISTEN_FOR: Final = 2.5
_NO_NODE: Final = (
    "no node has said which keys it has: is one running that has a chart and says so (not with "
    "old_frames=write), at this broker, and do these settings have its mesh key?"
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "keys",
        help="which keys nodes have and use, and the next step of a rotation",
        description="Listen to the nodes that have charts, and print which keys each one has and "
        "uses, by their fingerprints, and which step of a rotation may follow. Exit code 0 when "
        "the step that is printed is safe, or none is due; 1 when a node has to catch up first, "
        "or none was heard. Nodes without charts, as of a monitor, are not heard.",
    )
    add_broker(parser, "the mesh at this broker")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=seconds_up_to(LONGEST_RUN_S),
        metavar="SECONDS",
        help="how long to listen; default two and a half times heartbeat_interval_s",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return keys(
        os.environ, broker_url=options.broker, seconds=options.seconds, as_json=options.json
    )


class _Heard(Observer):
    """What the nodes have said, the newest of each; on the subscriber's thread."""

    def __init__(self) -> None:
        self.unread = 0
        self._rolls: dict[str, KeyedRoll] = {}

    def hear(self, rolls: Sequence[NodeRoll]) -> None:
        for roll in rolls:
            if isinstance(roll, KeyedRoll):
                # The name and not the process: of one that was restarted the newer one counts.
                known = self._rolls.get(roll.node)
                if known is None or (roll.started, roll.sequence) >= (
                    known.started,
                    known.sequence,
                ):
                    self._rolls[roll.node] = roll

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if (network, reason) == ("roll", "undecryptable"):
            self.unread += events

    @property
    def by_network(self) -> Mapping[str, Sequence[NodeKeys]]:
        """The keys of the nodes, by their network, without nodes that have no chart left."""
        found: dict[str, list[NodeKeys]] = {}
        for _, roll in sorted(self._rolls.items()):
            if all(chart.state == "stopped" for chart in roll.charts):
                continue
            for said in roll.keys:
                found.setdefault(said.network, []).append(NodeKeys.of(roll.node, said))
        return found


def keys(
    environ: Mapping[str, str], *, broker_url: str | None, seconds: float | None, as_json: bool
) -> int:
    """Print what the nodes have said; return 0 when the step that may follow is safe, else 1."""
    config = MeshConfig.from_env(environ, broker_url=broker_url).overridden(tell_charts=False)
    heard = _Heard()
    place = ListenerNode(config, "keys", heard)
    node = place.enter(lambda: None)
    try:
        node.hear_rolls(heard.hear)
        threading.Event().wait(seconds or _LISTEN_FOR * config.heartbeat_interval_s)
    finally:
        place.leave(node)
    found = heard.by_network
    steps = {network: next_steps(nodes, heard.unread) for network, nodes in found.items()}
    if as_json:
        sys.stdout.write(json.dumps(_as_json(found, steps, heard.unread)) + "\n")
    else:
        for network, nodes in found.items():
            sys.stdout.writelines(f"{line}\n" for line in _lines(network, nodes))
            sys.stdout.writelines(f"  {printable(each.text)}\n" for each in steps[network])
    sys.stdout.flush()
    if not found:
        sys.stderr.write(f"{_NO_NODE}\n")
        if heard.unread:
            sys.stderr.write(f"{heard.unread} frame(s) of a key that these settings lack came\n")
    safe = all(step.safe for each in steps.values() for step in each)
    return 0 if found and safe else 1


def _lines(network: str, nodes: Sequence[NodeKeys]) -> Iterator[str]:
    yield f"{network}:"
    for each in nodes:
        others = ", ".join(_other(key, idle_s) for key, idle_s in _others(each))
        also = f", also opens {others}" if others else ""
        yield f"  {printable(each.node)}: uses {each.used}{also}"


def _others(node: NodeKeys) -> Iterator[tuple[str, float | None]]:
    return ((key, idle_s) for key, idle_s in node.idle_s.items() if key != node.used)


def _other(key: str, idle_s: float | None) -> str:
    seen = "no frame of it yet" if idle_s is None else f"the last frame {idle_s:.0f} s ago"
    return f"{key} ({seen})"


def _as_json(
    found: Mapping[str, Sequence[NodeKeys]], steps: Mapping[str, Sequence[Any]], unread: int
) -> Mapping[str, Any]:
    return {
        "networks": {
            network: {
                "nodes": [asdict(node) for node in nodes],
                "steps": [asdict(step) for step in steps[network]],
            }
            for network, nodes in found.items()
        },
        "unread": unread,
    }
