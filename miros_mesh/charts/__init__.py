"""The charts that a program makes: miros charts that can `transmit`."""

from typing import TYPE_CHECKING

from miros_mesh.doors import door

if TYPE_CHECKING:
    from miros_mesh.address import DEFAULT_ROUTING_KEY
    from miros_mesh.charts.networked import NetworkedActiveObject, NetworkedFactory
else:
    # A type checker reads the imports above, since it takes a `__getattr__` for any name at all.
    __getattr__, __dir__ = door(
        __name__,
        {
            "miros_mesh.address": ("DEFAULT_ROUTING_KEY",),
            "miros_mesh.charts.networked": ("NetworkedActiveObject", "NetworkedFactory"),
        },
    )

__all__ = ["DEFAULT_ROUTING_KEY", "NetworkedActiveObject", "NetworkedFactory"]
