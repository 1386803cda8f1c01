"""A real Chromium that sees this machine's loopback and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.waiting import wait_until

NO_CHROMIUM = (
    "needs the program chromium: `make test` as root installs it with apt; "
    "otherwise: sudo apt-get install chromium"
)
LIMIT_MS = 60_000
POLL_MS = 50
_WATCH = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) =>
      window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


def find_chromium() -> str | None:
    """Where the browser is."""
    return shutil.which("chromium", path="/usr/local/bin:/usr/bin:/bin")


@contextmanager
def chromium(program: str | None = None) -> Iterator[Browser]:
    """A browser that resolves no name and so asks no host but this one, or that of `program`."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program or find_chromium(),
            # Tests run as root in CI, where Chromium has no sandbox of its own.
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """A page in a window of its own, and what it did that it should not."""

    context: BrowserContext
    page: Page = field(init=False)
    asked: list[str] = field(default_factory=list)
    """The addresses that it asked for."""
    complaints: list[str] = field(default_factory=list)
    """What it wrote to the console, and what it threw."""

    def __post_init__(self) -> None:
        self.context.add_init_script(_WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    @property
    def violations(self) -> list[str]:
        """What the page's policy has refused."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def until(self, expression: str) -> None:
        """Wait until JavaScript is true; the page's policy lets it wait for none by itself."""

        def holds() -> bool:
            # Which also lets the driver hear what the page does.
            self.page.wait_for_timeout(POLL_MS)
            return bool(self.page.evaluate(expression))

        wait_until(holds, LIMIT_MS / 1000, message=expression)

    def texts(self, selector: str) -> list[str]:
        """The words of all elements that fit."""
        return self.page.locator(selector).all_text_contents()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def window(browser: Browser, url: str, **settings: Any) -> Window:
    """Open an address in a window of its own, 1,440 by 900 pixels if nothing else is said."""
    settings = {"viewport": {"width": 1440, "height": 900}, **settings}
    opened = Window(browser.new_context(**settings))
    opened.page.goto(url)
    return opened
