"""A chart of another process, as miros shows charts that are elsewhere."""

from __future__ import annotations

from miros.foreign import ForeignHsm

from miros_mesh.text import printable


class ForeignChart(ForeignHsm):
    """A miros `ForeignHsm` whose trace can be read while a worker adds to it."""

    def __init__(self, node: str, name: str) -> None:
        super().__init__()
        self._place = printable(f"{node}/{name}")

    def __repr__(self) -> str:
        return f"<ForeignChart {self._place}>"

    def trace(self) -> str:
        """Its last lines of trace, as miros writes them."""
        return "".join(f"{line}\n" for line in tuple(self.foreign.trace))
