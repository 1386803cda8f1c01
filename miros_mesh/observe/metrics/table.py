"""The table of metrics: what each is called, what it counts, and which labels it has."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from miros_mesh.observe.version import version

PREFIX: Final = "miros_mesh_"
NETWORKS: Final = ("mesh", "snoop_trace", "snoop_spy")
"""Those whose series begin at zero; the others of the wire come with their first event."""
# The losses that an alert asks for. A series that appears with its first loss looks to `increase`
# as if nothing had changed, so these begin at zero.
LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "mesh": (
        *("outbox_overflow", "peer_lost", "no_peer", "stopped"),
        *("payload", "undecryptable", "malformed", "oversize", "version", "signal_table_full"),
        *("wrong_mesh", "wrong_topic", "old", "clock"),
        *("poison", "handler"),
        *("not_kept", "dead_letters_full"),
    ),
    "snoop_trace": ("outbox_overflow", "undecryptable", "malformed"),
    "snoop_spy": ("outbox_overflow", "undecryptable", "malformed"),
}
# From a confirm on loopback to an event that waited minutes for a broker.
SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 300),
)
# From one event, 256 bytes, to 16 MiB; larger frames are rare and share the last bucket.
FRAME_BYTES: Final = tuple(256 * 4**power for power in range(9))

# Of each table: the name without its prefix, what it says, its labels.
COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "transmitted_events": ("Events and records put into an outbox.", ("network", "chart")),
    "confirmed_frames": ("Frames that a peer confirmed.", ("network", "peer")),
    "confirmed_events": ("Events and records that a peer confirmed.", ("network", "peer")),
    "confirmed_bytes": ("Sealed bytes that a peer confirmed.", ("network", "peer")),
    "received_frames": ("Frames that arrived and were opened.", ("network",)),
    "received_events": ("Events and records that arrived.", ("network",)),
    "received_bytes": ("Sealed bytes that arrived and were opened.", ("network",)),
    "handed_over_events": ("Events that entered a chart's FIFO.", ("chart",)),
    "dropped_events": ("Events that will not be delivered.", ("network", "reason")),
    "overflowed_events": (
        "Events and records that went because the outbox for a peer was full.",
        ("network", "peer"),
    ),
    "refused_events": (
        "Events that a peer refused, and that are set aside.",
        ("network", "peer", "reason"),
    ),
    "unroutable_events": ("Confirmed events that no queue took.", ("peer",)),
    "dead_letters": ("What charts received and set aside.", ("chart", "reason")),
    "requests_ended": ("Requests, by how they ended.", ("chart", "outcome")),
    "gaps": ("Holes in the sequence numbers of a sender.", ("network",)),
    "missing_events": ("Sequence numbers in those holes.", ("network",)),
    "repaired_events": ("Missing events that came when asked for.", ("network",)),
    "peer_losses": ("Connections to peers that broke.", ("reason",)),
    "peer_reconnects": ("Connections to peers that broke and came back.", ("peer",)),
    "connection_failures": ("Attempts to connect that failed.", ("peer", "reason")),
    "peer_blocks": ("Times a peer was short of memory or disk.", ("peer",)),
    "subscription_losses": ("Connections to a home broker that broke.", ("reason",)),
    "scouts": ("Addresses that discovery looked at.", ("source", "verdict")),
    "cache_reads": ("Looks into the cache of the local network: hit or miss.", ("outcome",)),
    "aliens": ("Brokers that unknown nodes named, by what became of them.", ("outcome",)),
    "charts_left": ("Charts elsewhere on the mesh that said goodbye.", ()),
    "chart_deaths": ("Charts whose thread was ended by an exception.", ("chart",)),
    "chart_revivals": ("Charts of discovery that died and are dead no more.", ("chart",)),
    "thread_deaths": ("Threads of connections that an error of the library ended.", ("peer",)),
}


HISTOGRAMS: Final[dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "confirm_seconds": ("From publishing a frame to its confirm.", ("network",), SECONDS),
    "delivery_seconds": ("From transmit, by the sender's clock, to the FIFO.", (), SECONDS),
    "round_trip_seconds": ("From a request to its reply, handed over.", (), SECONDS),
    "frame_bytes": (
        "Sealed frames, confirmed or received.",
        ("network", "direction"),
        FRAME_BYTES,
    ),
    "scout_seconds": ("A look of discovery at one address.", ("source",), SECONDS),
    "search_seconds": (
        "A run of discovery: all candidates of one source.",
        ("source",),
        SECONDS,
    ),
}

GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "peer_connected": ("1 while a peer is connected.", ("peer",)),
    "peer_blocked": ("1 while a peer is short of memory or disk.", ("peer",)),
    "build_info": ("Always 1; the labels say what runs.", ("version", "python")),
}


def counter(name: str) -> Counter:
    """Make a counter of the table, in no registry; series that are known beforehand begin at 0."""
    text, labels = COUNTERS[name]
    made = Counter(PREFIX + name, text, labels, registry=None)
    for values in _known_beforehand(name, labels):
        made.labels(*values)
    return made


def _known_beforehand(name: str, labels: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    # With a second label, as `peer`, the values are not known before they come.
    if labels == ("network",):
        yield from ((network,) for network in NETWORKS)
    if name == "cache_reads":
        yield from (("hit",), ("miss",))
    if name == "dropped_events":
        yield from ((network, reason) for network in LOSSES for reason in LOSSES[network])


def histogram(name: str) -> Histogram:
    """Make a histogram of the table, in no registry."""
    text, labels, buckets = HISTOGRAMS[name]
    return Histogram(PREFIX + name, text, labels, registry=None, buckets=buckets)


def gauge(name: str) -> Gauge:
    """Make a gauge of the table, in no registry; several processes' values are added up."""
    text, labels = GAUGES[name]
    # `livesum`: each process of a server that forks is connected for itself; those that have ended
    # no longer count. Outside the multiprocess mode of prometheus_client it means nothing.
    return Gauge(PREFIX + name, text, labels, registry=None, multiprocess_mode="livesum")


def build_info() -> Gauge:
    """Make the gauge that says which versions run."""
    # No Info of prometheus_client's, which is silent in multiprocess mode.
    info = gauge("build_info")
    info.labels(version(), platform.python_version()).set(1)
    return info
