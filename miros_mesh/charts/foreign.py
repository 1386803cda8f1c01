"""A chart of another process, as miros shows charts that are elsewhere."""

from __future__ import annotations

from miros.foreign import ForeignHsm


class ForeignChart(ForeignHsm):
    """A miros `ForeignHsm` whose trace can be read while a worker adds to it."""

    def trace(self) -> str:
        """Its last lines of trace, as miros writes them."""
        return "".join(f"{line}\n" for line in tuple(self.foreign.trace))
