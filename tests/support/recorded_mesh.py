"""Snoop records of charts on hosts whose clocks disagree, and names that would do harm."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as st

from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.wire.envelope import SnoopRecord

BEGIN = 1_795_000_000.0


@dataclass
class Mesh:
    """What charts on hosts with clocks of their own would tell, and what really caused what."""

    clocks: list[float]
    now: float = BEGIN
    records: list[SnoopRecord] = field(default_factory=list)
    causes: dict[str, str | None] = field(default_factory=dict)

    def transition(self, host: int, *, after: SnoopRecord | None = None) -> SnoopRecord:
        """A chart's next one, by an event that another transition's handler sent, or a timer."""
        self.now += 0.01
        chart, incarnation = f"chart{host}", f"run{host}"
        place = sum(record.chart == chart for record in self.records) + 1
        event_id = f"{incarnation}/{chart}/local-{place}"
        if after and after.chart != chart:
            event_id = f"{after.incarnation}/{after.chart}/{len(self.records) + 1}"
        record = SnoopRecord(
            node=f"host{host}",
            chart=chart,
            incarnation=incarnation,
            sequence=place,
            kind="trace",
            time=self.now + self.clocks[host],
            text="e->go() here->there",
            signal="go",
            from_state="here",
            to_state="there",
            event_id=event_id,
            cause=after.event_id if after else None,
        )
        self.records.append(record)
        return record


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    clocks = draw(st.lists(st.floats(-4000, 4000), min_size=1, max_size=4))
    mesh = Mesh(clocks)
    for _ in range(draw(st.integers(1, 25))):
        earlier = draw(st.sampled_from([None, *mesh.records]))
        mesh.transition(draw(st.integers(0, len(clocks) - 1)), after=earlier)
    return mesh


def record(**changes: object) -> SnoopRecord:
    return msgspec.structs.replace(Mesh([0.0]).transition(0), **changes)


HOSTILE = [
    "a;b#c",
    "end",
    "%%{init: {'theme':'dark'}}%%",
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    'x" as y\n@enduml\n!include /etc/passwd',
    "%getenv(PATH)",
    "a->>b: c",
    "a__b//c**d--e~~f",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "line\r\nbreak\u2028\u2029",
    "]]>&amp;&#60;",
    "-->",
    "$$x$$ `y` [[http://x]]",
    "\ud800",
    "\ufffe",
    " ",
    "style: x#y;",
]


names = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=80))


hostile = st.builds(
    record, chart=names, node=names, signal=names, from_state=names, to_state=names
).map(lambda each: diagram([each]))
