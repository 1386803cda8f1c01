"""The charts that a program makes: miros charts that can `transmit`."""

from miros_mesh.charts.networked import DEFAULT_ROUTING_KEY, NetworkedActiveObject, NetworkedFactory

__all__ = ["DEFAULT_ROUTING_KEY", "NetworkedActiveObject", "NetworkedFactory"]
