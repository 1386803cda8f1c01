"""Opening the page in the user's browser, without its token in the list of processes."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Final

_LEADS_ON: Final = """\
<!DOCTYPE html><meta charset="utf-8"><title>miros_mesh</title>
<meta http-equiv="refresh" content="0; url={url}"><a href="{url}">To the page of the mesh</a>
"""


@contextmanager
def opened(url: str) -> Iterator[None]:
    """Have the browser open the page, if there is a display; what leads there goes with the block.

    Every user of a machine sees the arguments of a browser, so it is given a file that only this
    user may read, and which leads to the page.
    """
    if not has_display():
        yield
        return
    # Only for this user, as `mkdtemp` makes it.
    with tempfile.TemporaryDirectory(prefix="miros-mesh-page-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(_LEADS_ON.format(url=escape(url)), encoding="utf-8")
        webbrowser.open(file.as_uri())
        yield


def has_display() -> bool:
    """Whether a browser would open a window; without one it would take the terminal."""
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
