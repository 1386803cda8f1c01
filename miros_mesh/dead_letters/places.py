"""The two places of dead letters: the queue at the home broker, and the local file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial

from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.boxes import Boxes
from miros_mesh.dead_letters.letter import Place
from miros_mesh.link.ports import LetterBox
from miros_mesh.networks.letters.letter import LETTERS
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.credentials import Credentials
from miros_mesh.node.link_settings import link_settings
from miros_mesh.node.node import home_broker, home_link
from miros_mesh.observer import Observer

_NODE = "dead-letters"


@dataclass(frozen=True, eq=False)
class Found:
    """A sealed letter in its place."""

    place: Place
    sealed: bytes
    remove: Callable[[], object]
    """Takes it away for good."""
    box: Callable[[str], AbstractContextManager[LetterBox]]
    """Lends the box of the broker that refused it, to publish it again; "" is the home broker."""


class Places:
    """Walks through the letters of both places; any thread, any number of walks at once."""

    def __init__(self, config: MeshConfig) -> None:
        # Its observer hears nothing: a connection of a visit is no connection of a node. Without
        # exchanges, so that a look declares nothing.
        settings = link_settings(
            config,
            node=_NODE,
            exchanges=(),
            observer=Observer(),
            credentials=Credentials(config, lambda: None),
        )
        self._config = config
        self._home = home_broker(config)
        self._link = home_link(config, settings)
        self._local = LocalLetters(config.home_folder)

    def walk(self, *places: Place) -> Generator[Found, None, None]:
        """Hand out each letter of the places, the oldest of each place first.

        Raises the `LinkError` that prevents it. Until the iterator ends, the letters at the broker
        that it has handed out are shown to no other.
        """
        if "broker" in places:
            yield from self._at_broker()
        if "local" in places:
            yield from self._here()

    def close(self) -> None:
        """Close every connection, also those in use."""
        self._link.close()

    def _at_broker(self) -> Iterator[Found]:
        # Closed before the connection is: a generator that is only forgotten ends after it.
        with (
            self._link.letter_box(self._home) as box,
            closing(box.kept(exchange_of(LETTERS))) as letters,
        ):
            for kept in letters:
                yield Found("broker", kept.body, kept.take, lambda _: nullcontext(box))

    def _here(self) -> Iterator[Found]:
        with Boxes(self._config, self._home, self._link) as boxes:
            for number, sealed in self._local.all():
                yield Found("local", sealed, partial(self._local.remove, number), boxes.at)
