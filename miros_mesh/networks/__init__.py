"""Wire and link put together: the mesh and the two snoop networks of a node."""

from miros_mesh.networks.history import History
from miros_mesh.networks.inbox import Arrival, Inbox
from miros_mesh.networks.mesh import RESERVED_PREFIX, Identity, Mesh
from miros_mesh.networks.network import Network, exchange_of
from miros_mesh.networks.peers import Peers
from miros_mesh.networks.pulses import Pulses
from miros_mesh.networks.repair import Repair
from miros_mesh.networks.screen import Screen
from miros_mesh.networks.snoop import Snoop, Step, printable, render
from miros_mesh.networks.teller import Teller

__all__ = [
    "RESERVED_PREFIX",
    "Arrival",
    "History",
    "Identity",
    "Inbox",
    "Mesh",
    "Network",
    "Peers",
    "Pulses",
    "Repair",
    "Screen",
    "Snoop",
    "Step",
    "Teller",
    "exchange_of",
    "printable",
    "render",
]
