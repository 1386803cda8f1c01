"""What travels between nodes: messages to sealed frames and back, and the keys.

No thread, no socket, no miros. docs/wire.md has the bytes.
"""

from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, FRAME_VERSION, MAX_FRAME_MESSAGES, Codec
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    MAX_RANGES,
    ChartStatus,
    Envelope,
    ListenerRepair,
    NodeStatus,
    Origin,
    PeerStatus,
    RepairMessage,
    SnoopRecord,
    TracedEnvelope,
)
from miros_mesh.wire.keyring import KeyRing, fingerprint, generate_key
from miros_mesh.wire.payload_types import UnknownValue
from miros_mesh.wire.serializer import MsgpackSerializer

__all__ = [
    "FRAME_OVERHEAD_BYTES",
    "FRAME_VERSION",
    "MAX_FRAME_MESSAGES",
    "MAX_LISTED",
    "MAX_RANGES",
    "ChartStatus",
    "Codec",
    "Envelope",
    "KeyRing",
    "ListenerRepair",
    "MsgpackSerializer",
    "NodeStatus",
    "Origin",
    "PeerStatus",
    "RepairMessage",
    "SnoopRecord",
    "TracedEnvelope",
    "UnknownValue",
    "fingerprint",
    "generate_key",
]
