"""The settings of a node: `MeshConfig`."""

from typing import TYPE_CHECKING

from miros_mesh.doors import door

if TYPE_CHECKING:
    from miros_mesh.config.secret_file import SecretFile
    from miros_mesh.config.settings import (
        AlienPolicy,
        DiscoverySource,
        EncryptionKeys,
        MeshConfig,
        NetworkName,
    )
    from miros_mesh.wire.serializer import PayloadSerializer
else:
    # A type checker reads the imports above, since it takes a `__getattr__` for any name at all.
    __getattr__, __dir__ = door(
        __name__,
        {
            "miros_mesh.config.secret_file": ("SecretFile",),
            "miros_mesh.config.settings": (
                "AlienPolicy",
                "DiscoverySource",
                "EncryptionKeys",
                "MeshConfig",
                "NetworkName",
            ),
            "miros_mesh.wire.serializer": ("PayloadSerializer",),
        },
    )

__all__ = [
    "AlienPolicy",
    "DiscoverySource",
    "EncryptionKeys",
    "MeshConfig",
    "NetworkName",
    "PayloadSerializer",
    "SecretFile",
]
