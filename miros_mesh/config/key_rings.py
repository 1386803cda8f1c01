"""`KeyRings`: the key rings of a node, and the files that they follow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from miros_mesh.config.settings import MeshConfig, NetworkName, keys_in
from miros_mesh.errors import MeshError
from miros_mesh.private_files import prepare_home
from miros_mesh.text import logger_of
from miros_mesh.wire.key_file import load_keys, load_or_create_keys
from miros_mesh.wire.keyring import KeyRing

logger = logger_of(__name__)

Read = Callable[[], tuple[bytes, ...]]
"""What a file holds now; raises the `MeshError` that says why it holds no keys."""


class KeyRings:
    """One ring for all networks that share keys. Thread-safe.

    Without keys of their own the snoop networks have those of the mesh, and follow its changes.
    """

    def __init__(
        self,
        config: MeshConfig,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin with what the settings hold; `changed` is called after each change of a ring.

        Raises `EmbeddedStoreError` for a folder of no use, where the embedded broker's keys lie.
        """
        self._changed = changed
        self._files: dict[NetworkName, Read] = {}
        given = config.keys_for("mesh") or self._home_keys(config)
        mesh = KeyRing(given, cipher=config.cipher)
        self._rings: Final[Mapping[NetworkName, KeyRing]] = {
            "mesh": mesh,
            "snoop_trace": _own_or(mesh, config, "snoop_trace"),
            "snoop_spy": _own_or(mesh, config, "snoop_spy"),
        }
        for network, ring in self._rings.items():
            ring.changed = partial(self._tell, network, ring)
            file = config.key_file(network)
            if file and not file.once:
                self._files[network] = partial(keys_in, file, f"{network}_encryption_key")
        # Guards the two below, and is held while files are read: two threads may look.
        self._looking = threading.Lock()
        self._last = {network: config.keys_for(network) or given for network in self._files}
        self._problems: dict[str, str] = {}

    def __getitem__(self, network: NetworkName) -> KeyRing:
        return self._rings[network]

    def items(self) -> tuple[tuple[NetworkName, KeyRing], ...]:
        """Return the rings, each with the network that names it."""
        return tuple(self._rings.items())

    @property
    def problems(self) -> Mapping[str, str]:
        """Of a file that holds no keys now: why, by its network. The keys before stay in use."""
        return dict(self._problems)

    def look(self) -> None:
        """Read the files again; a ring becomes what its file says, once that is something else.

        What the program has changed itself stays until then. Raises nothing: see `problems`.
        """
        with self._looking:
            for network, read in self._files.items():
                self._read(network, read)

    def _read(self, network: NetworkName, read: Read) -> None:
        try:
            keys = read()
        except MeshError as error:
            problem = str(error)
            if self._problems.get(network) != problem:
                self._problems[network] = problem
                logger.error("the keys of %s stay as they are: %s", network, problem)  # noqa: TRY400 - says all
            return
        self._problems.pop(network, None)
        if keys != self._last[network]:
            self._last[network] = keys
            self._rings[network].become(keys)

    def _home_keys(self, config: MeshConfig) -> tuple[bytes, ...]:
        # With a RabbitMQ the settings insist on a key; the embedded broker's lies in its folder,
        # which only its user can read.
        folder = prepare_home(config.home_folder)
        self._files["mesh"] = partial(load_keys, folder)
        return load_or_create_keys(folder)

    def _tell(self, network: NetworkName, ring: KeyRing) -> None:
        logger.info("keys of %s, the one that seals first: %s", network, ring)
        self._changed()


def _own_or(default: KeyRing, config: MeshConfig, network: NetworkName) -> KeyRing:
    if getattr(config, f"{network}_encryption_key") is None:
        return KeyRing(default=default, cipher=config.cipher)
    return KeyRing(config.keys_for(network) or (), cipher=config.cipher)
