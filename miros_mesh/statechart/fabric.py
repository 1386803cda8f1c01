"""miros' fabric, by which charts of a process publish to each other, in a forked child."""

from __future__ import annotations

import functools
import os

from miros.activeobject import ActiveFabric


@functools.cache
def renew_in_children() -> None:
    """Let the fabric of a child begin anew.

    The parent's threads were waiting at its queues: one of theirs, which is not there, would be
    woken by the first event that the child publishes. Their subscribers are not there either.
    """
    os.register_at_fork(after_in_child=lambda: ActiveFabric().clear())
