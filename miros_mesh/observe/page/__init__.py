"""The page of the mesh: one page for a browser, which shows the mesh at work.

`serve` opens it beside a program; `miros-mesh page` does it from a terminal.
"""

from miros_mesh.observe.page.serve import serve
from miros_mesh.observe.page.server import PageServer

__all__ = ["PageServer", "serve"]
