"""The charts that a program makes: miros charts that can `transmit`."""

from miros_mesh.address import DEFAULT_ROUTING_KEY
from miros_mesh.charts.networked import NetworkedActiveObject, NetworkedFactory

__all__ = ["DEFAULT_ROUTING_KEY", "NetworkedActiveObject", "NetworkedFactory"]
