"""The documentation as a site: built strictly, and read in a real Chromium that reaches no host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser

from support import reference
from support.browser import Window, chromium
from support.doc_pages import ROOT

BUILD_LIMIT_S = 300.0
# Of a host that the theme would ask for stars and forks.
REPOSITORY = "https://github.com/example/miros_mesh"
NARROW, WIDE = 400, 1280
# Diagrams are drawn into closed shadow roots, which a test could not look into.
OPEN_SHADOWS = """
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (options) {
      return attach.call(this, { ...options, mode: "open" });
    };
"""
FIRST_RESULTS = 5
# Not those that are folded away below a page, "more on this page".
SHOWN_RESULTS = """
    [...document.querySelectorAll(".md-search-result__link")]
      .filter((link) => link.getClientRects().length)
      .map((link) => link.pathname + link.hash)
"""
BROKEN_NAMES = """
    [...document.querySelectorAll("td:first-child code")]
      .filter((code) => code.getClientRects().length > 1)
      .map((code) => code.textContent)
"""


@dataclass
class Document(HTMLParser):
    """What a page of the site leads to, and what can be led to in it."""

    text: str
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    headings: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given[name] for name in ("href", "src") if name in given]
        self.loads += [given[name] for name in ("href", "src") if name in given and tag != "a"]
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.headings += tag == "h1"


@dataclass
class Site:
    """The site that was built, and where a server shows it."""

    folder: Path
    port: int = 0

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pages(self) -> dict[str, Path]:
        """Each page by its address below that of the site."""
        files = sorted(self.folder.rglob("index.html"))
        return {
            f"{folder}/"
            if (folder := file.parent.relative_to(self.folder).as_posix()) != "."
            else "": file
            for file in files
        }


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "REPOSITORY_URL": REPOSITORY, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Site(folder, server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def look(browser: Browser, site: Site) -> Iterator[Window]:
    """A window on the site, which asks only its own server, and complains of nothing."""
    with Window(browser.new_context(color_scheme="light")) as opened:
        opened.context.add_init_script(OPEN_SHADOWS)
        yield opened
        assert opened.complaints == []
        assert [each for each in opened.asked if not each.startswith((site.home, "data:"))] == []


def test_every_page_has_one_title_and_no_other_page_has_it(site: Site) -> None:
    titles = {}
    for address, file in site.pages.items():
        text = file.read_text()
        assert Document(text).headings == 1, address
        (titles[address],) = re.findall(r"<title>(.*?)</title>", text)
    assert len(set(titles.values())) == len(titles)


def test_every_link_of_the_site_leads_to_something_on_it(site: Site) -> None:
    documents = {address: Document(file.read_text()) for address, file in site.pages.items()}
    lost = []
    for address, document in documents.items():
        for link in document.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            whole, anchor = urldefrag(urljoin(site.home + address, link))
            path = unquote(whole.removeprefix(site.home))
            known = documents.get(path)
            there = anchor in known.anchors if known and anchor else known or _is_file(site, path)
            # By this one the browser goes to the top of a page.
            if not there and anchor != "__top":
                lost.append((address, link))
    assert lost == []


def _is_file(site: Site, path: str) -> bool:
    return (site.folder / path).is_file()


def test_every_public_name_has_its_place_and_no_private_one(site: Site) -> None:
    for page in reference.pages():
        anchors = Document(site.pages[f"reference/{page.stem}/"].read_text()).anchors
        assert not set(reference.explained(page)) - anchors, page.name
        assert not [each for each in anchors if re.search(r"\._", each)]


def test_errors_that_a_page_names_lead_to_what_they_mean(site: Site) -> None:
    for page in ("reference/charts/", "delivery/"):
        links = Document(site.pages[page].read_text()).links
        assert [link for link in links if link.endswith("errors/#miros_mesh.errors.SignalError")]


def test_llms_txt_says_of_every_page_what_it_is_for(site: Site) -> None:
    text = (site.folder / "llms.txt").read_text()
    assert re.match(r"# miros_mesh\n\n> \w.+\n\n## ", text)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    told = [re.fullmatch(r"- \[(.+?)\]\((.+?)\): (\S.{9,})", line) for line in lines]
    assert None not in told
    assert sorted(match[2].removeprefix("./") for match in told if match) == sorted(site.pages)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Overview",
        "Start",
        "Program",
        "Operate",
        "Reference",
        "Inside",
        "Optional",
    ]
    optional = text.partition("## Optional")[2]
    assert all("](decisions/" in line.replace("./", "") for line in optional.splitlines() if line)
    assert optional.count("decisions/") == text.count("](decisions/")
    assert not re.findall(r"&\w+;|</\w+", text)


def test_no_page_names_another_host_to_load_from(site: Site) -> None:
    loads = {each for file in site.pages.values() for each in Document(file.read_text()).loads}
    assert any(each.endswith("assets/mermaid.min.js") for each in loads)
    assert [each for each in loads if urlsplit(each).scheme or each.startswith("//")] == []


def test_no_page_asks_another_host_or_is_wider_than_its_window(look: Window, site: Site) -> None:
    look.page.set_viewport_size({"width": NARROW, "height": 900})
    beyond = {}
    # Decisions are many, and pages of words: the first of them stands for the others.
    pages = [each for each in site.pages if not re.match("decisions/.", each)]
    for address in pages:
        look.page.goto(site.home + address)
        beyond[address] = look.page.evaluate("document.documentElement.scrollWidth") - NARROW
    assert {address: pixels for address, pixels in beyond.items() if pixels > 0} == {}
    # The fixture has looked at where they went.
    assert set(map(site.home.__add__, pages)) <= set(look.asked)


def test_mermaid_is_the_file_that_was_compared_with_its_own_archive(site: Site) -> None:
    decision = (ROOT / "docs" / "decisions" / "site.md").read_text()
    script = (site.folder / "assets" / "mermaid.min.js").read_bytes()
    assert f"`{sha256(script).hexdigest()}`" in decision


def test_mermaid_draws_every_diagram(look: Window, site: Site) -> None:
    drawn = 0
    for address, file in site.pages.items():
        if sources := file.read_text().count('<pre class="mermaid">'):
            look.page.goto(site.home + address)
            look.until(f"document.querySelectorAll('div.mermaid').length === {sources}")
            shapes = look.page.locator("div.mermaid svg:has(g)")
            assert shapes.count() == sources
            assert look.page.locator("div.mermaid .error-icon").count() == 0
            drawn += sources
    assert drawn
    look.page.goto(f"{site.home}observability/")
    look.page.wait_for_selector("div.mermaid svg >> text=guard >> nth=0")


def test_the_reader_chooses_dark_or_light_and_it_stays(look: Window, site: Site) -> None:
    look.page.goto(site.home)
    scheme = "document.body.dataset.mdColorScheme"
    assert look.page.evaluate(scheme) == "default"
    light = look.page.evaluate("getComputedStyle(document.body).backgroundColor")
    look.page.click("label[title=Dark]:visible")
    look.until(f"{scheme} === 'slate'")
    assert look.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    look.page.goto(f"{site.home}keys/")
    assert look.page.evaluate(scheme) == "slate"
    look.page.click("label[title=Light]:visible")
    look.until(f"{scheme} === 'default'")


@pytest.mark.parametrize(
    ("words", "page"),
    [("mesh_encryption_key", "configuration/"), ("start_metrics_server", "reference/metrics/")],
)
def test_search_finds_a_setting_and_a_call(look: Window, site: Site, words: str, page: str) -> None:
    look.page.goto(site.home)
    # Typed, since the theme looks at each key.
    look.page.locator("[data-md-component=search-query]").press_sequentially(words)
    look.page.locator(f".md-search-result__item a[href*='/{page}']").first.click()
    look.page.wait_for_url(f"{site.home}{page}**")
    look.page.wait_for_selector(f"article mark:has-text('{words}') >> nth=0")


@pytest.mark.parametrize(
    ("words", "section"),
    [
        ("password changed", "configuration/#a-password-is-changed"),
        ("how many events does an outbox hold", "delivery/#how-many-events-an-outbox-holds"),
        ("what does undecryptable mean", "keys/#undecryptable-when-a-node-misses-a-step"),
        ("NodeNameTakenError", "runbook/#nodenametakenerror-a-second-process-has-the-name"),
        ("certificate expired", "configuration/#a-certificate-is-refused-or-has-expired"),
        ("who may read my token", "runbook/#who-may-read-the-token-of-the-page"),
    ],
)
def test_search_leads_an_operator_to_what_to_do(
    look: Window, site: Site, words: str, section: str
) -> None:
    look.page.goto(site.home)
    look.page.locator("[data-md-component=search-query]").press_sequentially(words)
    look.until(f"({SHOWN_RESULTS}).slice(0, {FIRST_RESULTS}).includes('/{section}')")


def test_the_repository_is_a_click_away(look: Window, site: Site) -> None:
    look.page.goto(site.home)
    assert look.page.locator("header a.md-source").get_attribute("href") == REPOSITORY


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_names_of_settings_are_not_broken(look: Window, site: Site, width: int) -> None:
    look.page.set_viewport_size({"width": width, "height": 900})
    look.page.goto(f"{site.home}configuration/")
    names = look.texts("td:first-child code")
    assert "mesh_encryption_key" in names
    assert look.page.evaluate(BROKEN_NAMES) == []


def test_the_front_page_has_a_picture_and_a_program_before_all_else(
    look: Window, site: Site
) -> None:
    look.page.goto(site.home)
    first = look.page.locator("article > *").evaluate_all(
        "(all) => all.slice(0, 6).map((each) => each.innerHTML + each.className)"
    )
    assert any("page.png" in each for each in first)
    assert any("talk.py" in each for each in first)
    look.until("[...document.images].every((each) => each.complete && each.naturalWidth > 0)")
