"""The settings of a node: `MeshConfig`."""

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import (
    AlienPolicy,
    DiscoverySource,
    EncryptionKeys,
    MeshConfig,
    NetworkName,
)
from miros_mesh.wire.serializer import PayloadSerializer

__all__ = [
    "AlienPolicy",
    "DiscoverySource",
    "EncryptionKeys",
    "MeshConfig",
    "NetworkName",
    "PayloadSerializer",
    "SecretFile",
]
