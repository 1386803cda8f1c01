"""What travels between nodes: messages to sealed frames and back, and the keys.

No thread, no socket, no miros. docs/wire.md has the bytes.
"""

from typing import TYPE_CHECKING

from miros_mesh.doors import door

if TYPE_CHECKING:
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
else:
    # A type checker reads the imports above, since it takes a `__getattr__` for any name at all.
    __getattr__, __dir__ = door(
        __name__,
        {
            "miros_mesh.wire.codec": (
                "FRAME_OVERHEAD_BYTES",
                "FRAME_VERSION",
                "MAX_FRAME_MESSAGES",
                "Codec",
            ),
            "miros_mesh.wire.envelope": (
                "MAX_LISTED",
                "MAX_RANGES",
                "ChartStatus",
                "Envelope",
                "ListenerRepair",
                "NodeStatus",
                "Origin",
                "PeerStatus",
                "RepairMessage",
                "SnoopRecord",
                "TracedEnvelope",
            ),
            "miros_mesh.wire.keyring": ("KeyRing", "fingerprint", "generate_key"),
            "miros_mesh.wire.payload_types": ("UnknownValue",),
            "miros_mesh.wire.serializer": ("MsgpackSerializer",),
        },
    )

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
