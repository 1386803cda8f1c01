"""Telling systemd that a program is ready, that it lives, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from miros_mesh.health import why_dead, why_unready
from miros_mesh.node.node import NODES
from miros_mesh.service.notifier import NOTIFIER, State


def notify_systemd(started: Callable[[], bool] = lambda: True) -> None:
    """Tell systemd from now on how the nodes of this process are; a second call does nothing.

    It is told `READY=1` once every node is ready, every chart that has begun to start hears, and
    `started` returns true; as `STATUS=` what is wrong; and `WATCHDOG=1` while no chart and no
    connection's thread is dead. A program of several charts has all of them only when it says so:
    `started` is called on another thread, and soon returns.

    Without `$NOTIFY_SOCKET`, which a unit of `Type=notify` sets, it does nothing. It raises
    nothing, and what goes wrong at that socket is logged.
    """
    NOTIFIER.start(os.environ, partial(_state, started))


def _state(started: Callable[[], bool]) -> State:
    nodes = [node.health() for node in NODES.live]
    dead, unready = why_dead(nodes), why_unready(nodes)
    keys = [
        f"the keys of {network} stay as they are: {why}"
        for node in nodes
        for network, why in node.key_problems.items()
    ]
    return State(
        ready=not unready and not NODES.joining and started(),
        unfit="; ".join(dead),
        wrong="; ".join([*dead, *unready, *keys]),
    )
