"""What signatures cost: of a frame, and of events from one process to another."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from brokers import Measured
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Envelope, RoutedEnvelope, TracedEnvelope
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.members import AllowedNode, Members
from miros_mesh.wire.signing import Signer, generate_identity
from samples import Sample, Sizes, measure_mesh
from talks import BOTH

EVENTS: Final = (1, 20, 100)
ROUNDS: Final = 31
FRAMES: Final = 40
_PAYLOAD: Final = bytes(120)
_TOPIC: Final = "bench.frames"


def figures(broker: Measured, sizes: Sizes, runs: int) -> Iterator[str]:
    """Measure; yield a table of frames, then one of the whole way, with and without signatures."""
    yield f"| events in a frame | {' | '.join(_STEPS)} |\n| --- |{' --- |' * len(_STEPS)}"
    for events in EVENTS:
        medians = _frames(events)
        yield f"| {events} | {' | '.join(f'{medians[step] * 1e6:.0f} µs' for step in _STEPS)} |"
    yield f"\n| {broker.title} | events/s | one way, median |\n| --- | --- | --- |"
    for name, samples in _ways(broker, sizes, runs).items():
        rate = statistics.median(each.events_per_s for each in samples)
        way = statistics.median(each.latency_median_s for each in samples)
        yield f"| {name} | {rate:,.0f} | {way * 1e6:,.0f} µs |"


_STEPS: Final = ("seal", "seal and sign", "open", "open and verify")


def _frames(events: int) -> dict[str, float]:
    """Return the median seconds of each step for one frame, of rounds that take turns."""
    signer = Signer("sender", generate_identity())
    ring = KeyRing([generate_key()])
    members = Members({"sender": AllowedNode((signer.public_key,))})
    plain, signed = _codec(ring), _codec(ring, signer, members)
    incarnation = "0123456789ab" + signer.mark
    encoded = [
        plain.encode(Envelope("sender", "chart", incarnation, n, "tick", _PAYLOAD, 1.5))
        for n in range(1, events + 1)
    ]
    frame, signed_frame = plain.seal(encoded, _TOPIC), signed.seal(encoded, _TOPIC)
    fresh = Freshness()
    steps: dict[str, Callable[[], object]] = {
        "seal": lambda: plain.seal(encoded, _TOPIC),
        "seal and sign": lambda: signed.seal(encoded, _TOPIC),
        "open": lambda: plain.receive(frame, _TOPIC, fresh, again=False),
        "open and verify": lambda: signed.receive(signed_frame, _TOPIC, fresh, again=False),
    }
    taken: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            # Of the processor alone: other programs may use the machine as well.
            began = time.thread_time()
            for _ in range(FRAMES):
                step()
            taken[name].append((time.thread_time() - began) / FRAMES)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _codec(
    ring: KeyRing, signer: Signer | None = None, members: Members | None = None
) -> Codec[Envelope]:
    return Codec(
        "mesh",
        ring,
        Envelope,
        max_frame_bytes=1024 * 1024,
        extended=(TracedEnvelope, RoutedEnvelope),
        signer=signer,
        members=members,
    )


def _ways(broker: Measured, sizes: Sizes, runs: int) -> dict[str, list[Sample]]:
    """Measure the whole way, by turns without and with signatures."""
    identities = {role: generate_identity() for role in BOTH}
    allowed = {
        role: {"public_keys": [Signer(role, identity).public_key]}
        for role, identity in identities.items()
    }
    plain = {role: {"node_name": role} for role in BOTH}
    signed = {
        role: {"node_name": role, "node_identity": identities[role].decode()}
        | {"allowed_nodes": allowed}
        for role in BOTH
    }
    samples: dict[str, list[Sample]] = {"as ever": [], "signed": []}
    for _ in range(runs):
        samples["as ever"].append(measure_mesh(broker, sizes, plain))
        samples["signed"].append(measure_mesh(broker, sizes, signed))
    return samples
