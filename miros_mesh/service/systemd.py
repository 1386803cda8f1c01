"""Telling systemd that a program is ready, that it lives, and what is wrong with it."""

from __future__ import annotations

import os

from miros_mesh.health import why_dead, why_unready
from miros_mesh.node.node import NODES
from miros_mesh.service.notifier import NOTIFIER, State


def notify_systemd() -> None:
    """Tell systemd from now on how the nodes of this process are; a second call does nothing.

    It is told `READY=1` once every node is ready and every chart that has begun to start hears, as
    `STATUS=` what is wrong, and `WATCHDOG=1` while no chart and no connection's thread is dead. A
    program with several charts calls it when the last one has started.

    Without `$NOTIFY_SOCKET`, which a unit of `Type=notify` sets, it does nothing. It raises
    nothing, and what goes wrong at that socket is logged.
    """
    NOTIFIER.start(os.environ, _state)


def _state() -> State:
    nodes = [node.health() for node in NODES.live]
    dead, unready = why_dead(nodes), why_unready(nodes)
    keys = [
        f"the keys of {network} stay as they are: {why}"
        for node in nodes
        for network, why in node.key_problems.items()
    ]
    return State(
        ready=not unready and not NODES.joining,
        unfit="; ".join(dead),
        wrong="; ".join([*dead, *unready, *keys]),
    )
