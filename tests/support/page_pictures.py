"""The pictures of the page in docs/, of meshes at work: `make page-pictures`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser

from miros_mesh import MeshConfig
from miros_mesh.observe.page.serve import serve
from miros_mesh.testing.memory import MemoryMesh
from support import page_mesh
from support.browser import Window, chromium, window

IMAGES = Path(__file__).parents[2] / "docs" / "images"
# So long a mesh works before its picture is taken: rates are over five seconds.
WORKS_MS = 7_000
STUCK_MS = 9_000


@contextmanager
def _shop(browser: Browser, scheme: str) -> Iterator[tuple[page_mesh.Shop, Window]]:
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        settings = partial(MeshConfig, home=Path(home))
        page = stack.enter_context(serve(0, config=settings()))
        shop = stack.enter_context(page_mesh.shop(settings))
        stack.enter_context(page_mesh.orders(shop, 0.4))
        look = stack.enter_context(window(browser, page.url, color_scheme=scheme))
        look.until("document.querySelectorAll('.chart').length === 3")
        look.page.wait_for_timeout(WORKS_MS)
        yield shop, look


def three(browser: Browser, folder: Path) -> None:
    """Three charts, and what is known of one of them."""
    with _shop(browser, "light") as (_, look):
        look.page.click(".chart:has-text('desk')")
        look.page.wait_for_selector("#panel .state.now")
        _taken(look, folder / "page.png")


def stuck(browser: Browser, folder: Path) -> None:
    """The same three, one of them stuck."""
    with _shop(browser, "light") as (shop, look):
        shop.till.gate.clear()
        look.page.wait_for_selector(".flow.wait")
        look.page.wait_for_timeout(STUCK_MS)
        _taken(look, folder / "page-stuck.png")


def last_minute(browser: Browser, folder: Path) -> None:
    """The last minute, and what led to one event."""
    with _shop(browser, "dark") as (_, look):
        look.page.click("#tab-time")
        look.page.wait_for_selector(".row:has-text('ship()')")
        look.page.get_by_role("button", name="Pause").click()
        look.page.locator(".row:has-text('ship()')").nth(-3).click()
        look.page.wait_for_selector("#panel ol button")
        _taken(look, folder / "page-time.png")


def fifty(browser: Browser, folder: Path) -> None:
    """Fifty charts of ten nodes."""
    with tempfile.TemporaryDirectory() as home:
        _lines(browser, partial(MeshConfig, home=Path(home)), 10, 5, "dark", folder / "page-50.png")


def five_hundred(browser: Browser, folder: Path) -> None:
    """Five hundred charts of twenty nodes, in memory: they are all of one process."""
    _lines(browser, MemoryMesh().config, 20, 25, "light", folder / "page-500.png")


def _lines(
    browser: Browser,
    settings: page_mesh.Settings,
    nodes: int,
    charts: int,
    scheme: str,
    file: Path,
) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=settings()))
        workers = stack.enter_context(page_mesh.lines(settings, nodes, charts))
        stack.enter_context(page_mesh.busy(workers, 0.1))
        look = stack.enter_context(window(browser, page.url, color_scheme=scheme))
        look.until(f"document.querySelectorAll('.chart').length === {nodes * charts}")
        look.page.wait_for_timeout(WORKS_MS)
        # On a machine with much to do a node may be late to tell of itself.
        look.until("document.querySelector('#troubles').hidden")
        _taken(look, file)


def _taken(look: Window, file: Path) -> None:
    look.page.mouse.move(0, 0)
    look.page.screenshot(path=file)


PICTURES: dict[str, Callable[[Browser, Path], object]] = {
    "page": three,
    "page-stuck": stuck,
    "page-time": last_minute,
    "page-50": fifty,
    "page-500": five_hundred,
}


def main(names: list[str]) -> None:
    """Take the pictures that are named, or all."""
    with chromium() as browser:
        for name in names or PICTURES:
            PICTURES[name](browser, IMAGES)


if __name__ == "__main__":
    main(sys.argv[1:])
