"""The networks of a node: what each carries, and under which rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.settings import MeshConfig, NetworkName
from miros_mesh.networks.history import History
from miros_mesh.networks.letters.home import LARGEST_LETTER_BYTES
from miros_mesh.networks.letters.letter import LETTERS as LETTERS_NAME
from miros_mesh.networks.network import DIRECT, Network, Routed, exchange_of
from miros_mesh.networks.notes import marks
from miros_mesh.networks.notes.deaths import LARGEST_NOTE_BYTES
from miros_mesh.networks.roll import LARGEST_ROLL_BYTES
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import (
    ENVELOPE_BYTES,
    DeadLetter,
    DeathNote,
    Envelope,
    Filed,
    GroupedRoll,
    KeyedRoll,
    ListenerRepair,
    MarkNote,
    NodeRoll,
    NodeStatus,
    Origin,
    RepairMessage,
    RoutedEnvelope,
    RoutedRepair,
    SnoopRecord,
    TracedEnvelope,
    WorkingStatus,
)
from miros_mesh.wire.freshness import Limits
from miros_mesh.wire.members import Members

T = TypeVar("T", bound=Origin)

# Records are small, nothing waits for one of them, and each frame costs the chart's process more
# than what is in it.
_SNOOP_FRAME_RECORDS: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Generic[T]):
    """What tells one network from the others."""

    name: str
    """Of its exchange and inside its frames."""
    carries: type[T]
    """The messages of its frames."""
    keys: NetworkName
    """Whose keys seal them."""
    extended: tuple[type[T], ...] = ()
    """Messages with further fields, the ones with most last."""
    expendable: bool = False
    """Whether events go first, and its messages are dropped first."""
    least_frame_events: int = 0
    """How many messages fill a frame at least, whatever `frame_events` says."""
    brings_events: bool = False
    """Whether a message may hold whole events, and be as large as a frame of them."""
    max_message_bytes: int | None = None
    """How large a message may be, whatever the settings of who sent it and who reads it."""
    own: bool = False
    """Whether a node hears only what processes of its own name have said."""


MESH: Final = NetworkSpec(
    name="mesh", carries=Envelope, keys="mesh", extended=(TracedEnvelope, RoutedEnvelope)
)
SNOOP_TRACE: Final = NetworkSpec(
    name="snoop_trace",
    carries=SnoopRecord,
    keys="snoop_trace",
    expendable=True,
    least_frame_events=_SNOOP_FRAME_RECORDS,
)
SNOOP_SPY: Final = NetworkSpec(
    name="snoop_spy",
    carries=SnoopRecord,
    keys="snoop_spy",
    expendable=True,
    least_frame_events=_SNOOP_FRAME_RECORDS,
)
# A node that may read the events may have them again.
REPAIR: Final = NetworkSpec(
    name="repair",
    carries=RepairMessage,
    keys="mesh",
    extended=(ListenerRepair, RoutedRepair),
    brings_events=True,
)
# The wire's name for node status. Who may read a node's trace may know how it is.
STATUS: Final = NetworkSpec(
    name="pulse",
    carries=NodeStatus,
    keys="snoop_trace",
    extended=(WorkingStatus,),
    expendable=True,
)
# What is set aside, for people; who may read the events may read it. For the home broker alone.
LETTERS: Final = NetworkSpec(
    name=LETTERS_NAME, carries=DeadLetter, keys="mesh", max_message_bytes=LARGEST_LETTER_BYTES
)
# From one process of a node name to the next. For the home broker alone.
DEATHS: Final = NetworkSpec(
    name="deaths",
    carries=DeathNote,
    keys="mesh",
    max_message_bytes=LARGEST_NOTE_BYTES,
    own=True,
)
MARKS: Final = NetworkSpec(
    name="marks",
    carries=MarkNote,
    keys="mesh",
    max_message_bytes=marks.LARGEST_NOTE_BYTES,
    own=True,
)
# Who may read a chart's events may know whether it is alive. Not expendable: a node whose outbox is
# never empty would be silent.
ROLL: Final = NetworkSpec(
    name="roll",
    carries=NodeRoll,
    keys="mesh",
    extended=(KeyedRoll, GroupedRoll),
    max_message_bytes=LARGEST_ROLL_BYTES,
)
# What one member of a group has filed for others. For the home broker alone.
GROUP: Final = NetworkSpec(name="group", carries=Filed, keys="mesh", brings_events=True)
_ALL: Final = (MESH, SNOOP_TRACE, SNOOP_SPY, REPAIR, STATUS, LETTERS, DEATHS, MARKS, ROLL, GROUP)
NAMES: Final = tuple(each.name for each in _ALL)
EXCHANGES: Final = (*map(exchange_of, NAMES), DIRECT)
"""What every publisher declares. That of the mesh is the first: no node is without it."""


def largest_message(config: MeshConfig) -> int:
    """Return how many bytes of events one message of these settings may hold."""
    return max(config.frame_bytes, config.max_event_bytes)


def network_of(
    spec: NetworkSpec[T],
    config: MeshConfig,
    rings: KeyRings,
    observer: Observer,
    history: History | None = None,
    routes: Routed[T] | None = None,
) -> Network[T]:
    """Make a network by its specification; `history` keeps what is sent for repairs.

    With `routes` a chart may send to several destinations.
    """
    # For all networks, so that none refuses a frame that another node of these settings may seal.
    largest = spec.max_message_bytes or largest_message(config) + ENVELOPE_BYTES
    codec = Codec(
        spec.name,
        rings[spec.keys],
        spec.carries,
        max_frame_bytes=largest + FRAME_OVERHEAD_BYTES,
        max_event_bytes=(
            largest if spec.brings_events or spec.max_message_bytes else config.max_event_bytes
        ),
        extended=spec.extended,
        label=config.label,
        old_frames=config.old_frames,
        signer=config.signer(),
        members=_members(spec, config),
    )
    return Network(
        spec.name,
        codec,
        observer,
        frame_events=max(config.frame_events, spec.least_frame_events),
        frame_bytes=config.frame_bytes,
        expendable=spec.expendable,
        history=history,
        routes=routes,
        limits=Limits(window_s=config.replay_window_s, clock_error_s=config.clock_error_s),
    )


def _members(spec: NetworkSpec[T], config: MeshConfig) -> Members | None:
    """Return whom a network hears; None for all who have its key."""
    members, signer = config.members(), config.signer()
    if members is None or not spec.own:
        return members
    # Without a key of its own, a node does not know its own notes from others.
    return members.only(signer.node) if signer else None
