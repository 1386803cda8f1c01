"""`miros-mesh check`: are the settings good, and does an event get through?"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final, get_args

from miros_mesh.cli.options import BrokerOption, Commands, add_broker
from miros_mesh.config.settings import MeshConfig, NetworkName
from miros_mesh.discovery.addresses import own_networks
from miros_mesh.errors import (
    ConfigError,
    MeshError,
    NotPermittedError,
    PermissionDeniedError,
    UnsignedError,
)
from miros_mesh.networks.arrival import Arrival
from miros_mesh.node.node import Node
from miros_mesh.observer import Observer
from miros_mesh.text import printable
from miros_mesh.wire.keyring import fingerprint

ROUND_TRIP_LIMIT_S = 5.0
_NOT_HEARD: Final = {
    NotPermittedError.reason: "our own allowed_nodes refuses the signal `check` of {node}: add "
    "`check` to its signals, `check.*` to its topics and `mesh` to its networks, of those that it "
    "has",
    UnsignedError.reason: "our own allowed_nodes refuses what is not signed, as of {node}: "
    "give its node_identity",
}
"""Why we may refuse what we have sent ourselves."""

Finding = tuple[bool, str]
"""Whether it is good, and a sentence that says what it is."""


class _Refusals(Observer):
    """Why a frame was refused, of those that came under a topic of ours; the last one."""

    def __init__(self) -> None:
        self.reason = ""

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if network == "mesh":
            self.reason = reason


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "check",
        help="do the settings make sense, and does an event get through?",
        description="Read the settings from the environment, connect, and send an event around. "
        "One line a finding; exit code 1 if one of them is bad.",
    )
    add_broker(parser, "check this broker instead")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return check(os.environ, broker_url=options.broker)


def check(environ: Mapping[str, str], *, broker_url: BrokerOption) -> int:
    """Print what is found, a line each; return 0 when all of it is good, else 1."""
    good = True
    for ok, text in _findings(environ, broker_url):
        good = good and ok
        sys.stdout.write(f"{'ok  ' if ok else 'FAIL'}  {text}\n")
        sys.stdout.flush()
    return 0 if good else 1


def _findings(environ: Mapping[str, str], broker_url: BrokerOption) -> Iterator[Finding]:
    try:
        config = MeshConfig.from_env(environ, broker_url=broker_url)
    except ConfigError as error:
        yield from ((False, problem) for problem in error.problems)
        return
    yield True, f"settings: {_where(config)}"
    yield from _keys(config)
    yield True, f"cipher: {_cipher(config)}"
    yield True, f"this host: {_own_addresses()}"
    refusals = _Refusals()
    observers = (*config.observers, refusals)
    # The question is of one broker, so nothing is searched for.
    try:
        node = Node(config.overridden(discovery=(), discovery_dns_names=(), observers=observers))
        node.start()
    except MeshError as error:
        yield False, _why(error)
        return
    try:
        yield True, f"connected to {node.subscriber.connected_to}"
        yield _round_trip(node, refusals)
        yield from ((False, why) for why in node.health().unready)
    except MeshError as error:
        yield False, _why(error)
    finally:
        node.stop()


def _why(error: MeshError) -> str:
    # A user who only watches or looks at dead letters is good for that, and not for this command.
    needs = " (check sends an event, so it needs the rights of a node)"
    return f"{error}{needs if isinstance(error, PermissionDeniedError) else ''}"


def _where(config: MeshConfig) -> str:
    if not config.brokers:
        return f"embedded broker in {config.home_folder}"
    kind = "the broker of this host" if config.mode == "ancestor" else "a shared broker"
    return f"{kind}: {', '.join(broker.redacted for broker in config.brokers)}"


def _own_addresses() -> str:
    try:
        found = own_networks()
    except OSError as error:
        # It matters to discovery alone, and then the node below says what to do.
        return f"its addresses may not be asked for ({error})"
    return ", ".join(f"{name} {address}" for name in found for address in found[name])


def _keys(config: MeshConfig) -> Iterator[Finding]:
    for network in get_args(NetworkName):
        keys = config.keys_for(network)
        if keys is None:
            yield True, f"{network} key: the embedded broker's own"
            continue
        older = f", and {len(keys) - 1} older to decrypt with" if len(keys) > 1 else ""
        yield True, f"{network} key: fingerprint {fingerprint(keys[0])}{older}"


def _cipher(config: MeshConfig) -> str:
    if config.old_frames == "write":
        return "fernet, as old_frames=write has it"
    return config.cipher


def _round_trip(node: Node, refusals: _Refusals) -> Finding:
    """Send an event to ourselves by way of the broker, and wait for it."""
    # A topic that no other chart hears.
    topic = f"check.{secrets.token_hex(8)}"
    arrived = threading.Event()

    def post(arrival: Arrival) -> None:
        # A node with a name has a lasting queue, where an earlier check may have left something.
        if arrival.envelope.incarnation == node.identity.incarnation:
            arrived.set()
        arrival.inbox.finished(arrival)

    # It is set before anything is posted: that begins with `open`.
    session = node.join("check", topic, (topic,), room=lambda: 1, post=post)
    session.inbox.open()
    began = time.monotonic()
    # In the name of another chart: one does not hear what it has sent itself.
    node.mesh.transmit("check-sender", topic, "check", None, None)
    if not arrived.wait(ROUND_TRIP_LIMIT_S):
        if why := _NOT_HEARD.get(refusals.reason):
            return False, why.format(node=printable(node.identity.node))
        return False, f"an event sent out did not come back within {ROUND_TRIP_LIMIT_S:g} s"
    took_ms = (time.monotonic() - began) * 1000
    return True, f"an event went out, sealed and confirmed, and came back in {took_ms:.1f} ms"
