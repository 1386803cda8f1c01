"""What the charts of a node have to do, for its status: what waits, what is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from miros_mesh.health import Health
from miros_mesh.networks.requests import Requests
from miros_mesh.wire.envelope import MAX_ASKED, ChartWork, OpenRequest


class _Work(Protocol):
    @property
    def to_do(self) -> int: ...

    @property
    def event(self) -> str: ...


class _Inbox(Protocol):
    @property
    def waiting(self) -> int: ...


class Worker(Protocol):
    """A chart's session, as far as its work is concerned."""

    chart: str
    group: str
    requests: Requests

    @property
    def work(self) -> Callable[[], _Work]: ...

    @property
    def inboxes(self) -> Sequence[_Inbox]: ...


class AtWork:
    """Looks at the charts once for each status, so that a chart pays nothing for it.

    For how long a chart has handled one event is known to the pace of the looks. Used on the
    recorder's thread, and after its end on the one that stops the node.
    """

    def __init__(
        self, sessions: Callable[[], Iterable[Worker]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._sessions = sessions
        self._now = now
        # By chart: the event that it was handling, and since when it is known to.
        self._since: dict[str, tuple[str, float]] = {}

    def look(self, health: Health) -> list[ChartWork]:
        """Say of each chart what it has to do; `health` says which of them are deaf."""
        now, before = self._now(), self._since
        self._since = {}
        return [self._of(each, now, before, health.deaf_charts) for each in self._sessions()]

    def _of(
        self,
        session: Worker,
        now: float,
        before: Mapping[str, tuple[str, float]],
        deaf: Mapping[str, str],
    ) -> ChartWork:
        chart, work = session.chart, session.work()
        event, since = before.get(chart, ("", now))
        if event != work.event:
            since = now
        self._since[chart] = work.event, since
        received = sum(inbox.waiting for inbox in session.inboxes)
        return ChartWork(
            chart,
            # What is being handled does not wait.
            max(work.to_do - bool(work.event), 0) + received,
            work.event,
            now - since if work.event else 0.0,
            tuple(OpenRequest(*each) for each in session.requests.waiting()[:MAX_ASKED]),
            deaf.get(chart, "")[:255],
            session.group,
        )
