"""Which tests never run side by side."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling

# One kernel serves all networks of a machine, and has room for 1,024 neighbours in all of them: of
# two searches at a time one would lose its packets. And one set of RabbitMQs is enough.
TOGETHER: Final = "tests/lan/"


class Schedule(LoadFileScheduling):
    """A file to a process, and a whole folder where one network serves all of its tests."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)
