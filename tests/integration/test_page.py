"""The page of the mesh, in a real Chromium, on meshes at work."""

from __future__ import annotations

import itertools
import json
import re
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from miros import Event
from playwright.sync_api import Browser, Page

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.node.node import Node
from miros_mesh.observe.page.serve import serve
from miros_mesh.observe.page.server import PageServer
from miros_mesh.observe.page.stream import MOMENTS_PER_S
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observe.snoop.views import SILENT_S
from miros_mesh.observer import Observer
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import (
    ChartStatus,
    ChartWork,
    NodeStatus,
    OpenRequest,
    PeerStatus,
    SnoopRecord,
    WorkingStatus,
)
from miros_mesh.wire.keyring import generate_key
from support import dead_letters, page_mesh, page_pictures
from support.browser import Window, chromium, window
from support.doc_pages import ROOT
from support.rabbitmq_server import RabbitServer
from support.recorded_mesh import HOSTILE
from support.waiting import wait_until

LIMIT_S = 60.0
Look = Callable[[Page], object]


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def mesh() -> MemoryMesh:
    return MemoryMesh()


@contextmanager
def shown(browser: Browser, page: PageServer, **settings: Any) -> Iterator[Window]:
    """The page in a window, which asks only its own server and breaks no rule of its policy."""
    with window(browser, page.url, **settings) as opened:
        yield opened
        assert opened.violations == []
        assert opened.complaints == []
        home = f"http://127.0.0.1:{page.port}/"
        assert [
            each for each in opened.asked if not each.startswith((home, f"blob:{home[:-1]}"))
        ] == []


@contextmanager
def shop_shown(
    browser: Browser, settings: page_mesh.Settings
) -> Iterator[tuple[page_mesh.Shop, Window]]:
    """A shop that began after the page of its mesh, and that page in a window."""
    with (
        serve(0, config=settings()) as page,
        page_mesh.shop(settings) as made,
        shown(browser, page) as look,
    ):
        yield made, look


@contextmanager
def sender(config: MeshConfig) -> Iterator[Node]:
    """A node that says whatever a test lets it say."""
    place = ListenerNode(config, "liar", Observer())
    node = place.enter(lambda: None)
    try:
        yield node
    finally:
        place.leave(node)


def test_the_graph_has_nodes_charts_their_states_and_what_flows(
    browser: Browser, tmp_path: Path
) -> None:
    settings = partial(MeshConfig, home=tmp_path)
    with shop_shown(browser, settings) as (made, look), page_mesh.orders(made):
        look.until("document.querySelectorAll('.chart').length === 3")
        look.until("document.querySelectorAll('.flow.busy').length === 3")
        # Flows may be known a moment before states.
        look.page.wait_for_selector(".chart .state:has-text('charging')")
        assert sorted(look.texts(".node .title")) == ["bank", "front", "warehouse"]
        assert sorted(look.texts(".chart .name")) == ["depot", "desk", "till"]
        assert "charging" in look.texts(".chart .state")
        assert look.texts(".broker text") == ["embedded broker"]
        assert sorted(look.texts(".flow-label .second")) == ["charge", "charged", "ship"]
        assert look.page.locator("#troubles").is_hidden()
        # What a reader of the words of the graph hears.
        assert look.page.get_by_role("button", name="till of bank; in state charging").count() == 1


def test_a_rabbitmq_is_shown_without_its_password(browser: Browser, vhost_url: str) -> None:
    settings = partial(MeshConfig, broker_url=vhost_url, mesh_encryption_key=generate_key())
    password = str(urlsplit(vhost_url).password)
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=settings()))
        made = stack.enter_context(page_mesh.shop(settings))
        stack.enter_context(page_mesh.orders(made))
        look = stack.enter_context(shown(browser, page))
        look.until("document.querySelectorAll('.flow.busy').length === 3")
        (broker,) = look.texts(".broker title")
        assert broker.startswith("amqp://")
        assert f":{urlsplit(vhost_url).port}" in broker
        look.page.click("#tab-letters")
        look.page.wait_for_selector("text=There are no dead letters")
        assert password not in look.page.content()
        assert password not in _get(page, "/api/mesh", page.url.partition("token=")[2])[1]


def test_a_stuck_chart_is_named_and_so_is_who_waits_for_it(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with shop_shown(browser, mesh.config) as (made, look):
        made.till.gate.clear()
        for number in range(3):
            made.order(number)
        look.page.wait_for_selector(".flow.wait")
        look.page.wait_for_selector("#troubles >> text=/till is stuck: .*charge\\(\\).*desk waits/")
        look.page.wait_for_selector(
            "#troubles >> text=/desk waits for .*charge\\(\\).*till of bank/"
        )
        assert look.texts(".chart.bad .name") == ["till"]
        assert look.texts(".chart.waits .name") == ["desk"]
        assert "waits" in look.texts(".flow-label.wait text")[0]
        # How long, written in one way wherever it stands, and since when.
        look.page.wait_for_selector("#troubles >> text=/for \\d+ s, since \\d\\d:\\d\\d:\\d\\d; /")
        assert all(
            re.fullmatch(r"stuck \d+ s(, \d+ events? waits?)?", each)
            for each in look.texts(".chart.bad .facts")
        )
        assert look.texts(".chart.waits .facts") == ["waits for an answer to charge()"]
        # Nothing is drawn over the line of who waits, but words.
        assert look.page.evaluate(_LAYERS)[-2:] == ["waits", "labels"]
        # The words lead to the chart.
        look.page.click("#troubles button >> nth=0")
        assert look.texts("#panel h2") == ["till"]
        assert look.texts(".chart.chosen .name") == ["till"]
        look.page.wait_for_selector("#panel dd.bad >> text=/^at charge\\(\\) for \\d+ s, since/")
        look.page.wait_for_selector("#panel >> text=/charge\\(\\), at which it is stuck, is not/")
        made.till.gate.set()
        look.page.wait_for_selector("#troubles", state="hidden")
        assert look.page.locator(".flow.wait, .chart.bad").count() == 0


_LAYERS = "[...document.querySelectorAll('#graph > svg > g')].map((each) => each.classList[0])"


def test_a_chart_that_is_chosen_leaves_the_lines_of_others_faint(
    browser: Browser, tmp_path: Path
) -> None:
    settings = partial(MeshConfig, home=tmp_path)
    with shop_shown(browser, settings) as (made, look), page_mesh.orders(made):
        look.until("document.querySelectorAll('path.flow').length === 3")
        look.page.click(".chart:has-text('depot')")
        # It has one of them.
        look.until("document.querySelectorAll('path.flow.aside').length === 2")
        assert look.page.locator("path.flow").count() == 3
        assert look.texts(".flow-label .second") == ["ship"]


def test_the_words_of_the_graph_cover_no_name(browser: Browser, mesh: MemoryMesh) -> None:
    nodes = "attic", "cellar", "hall"
    numbers = itertools.count(1)
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        liar = stack.enter_context(sender(mesh.config()))
        look = stack.enter_context(shown(browser, page, viewport={"width": 1280, "height": 800}))

        def flows() -> bool:
            number, now = next(numbers), time.time()
            for at, name in enumerate(nodes):
                said = name, f"{at}nc", number, now, True, 0, ()
                charts = [ChartStatus(each, "idle", 3, "go", dead=False) for each in ("a", "b")]
                status = NodeStatus(name, *said, tuple(charts))
                liar.statuses.network.send("status", status, counted=False)
            # Each chart has events of both charts of the node before.
            for at, chart, sender_chart in itertools.product(range(3), ("a", "b"), ("a", "b")):
                place = nodes[at], chart, f"{at}nc", next(numbers)
                sent = f"{(at - 1) % 3}nc/{sender_chart}/{number}"
                step = "trace", now, "e->go()", "go", "up", "down", sent
                liar.trace.send([SnoopRecord(*place, *step)])
            look.page.wait_for_timeout(300)
            return look.page.locator(".flow-label").count() == 4 * len(nodes)

        wait_until(flows, LIMIT_S)
        assert look.page.evaluate(_COVERED) == []


_COVERED = """
    (() => {
      const box = (each) => each.getBoundingClientRect();
      const meet = (a, b) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      const names = [...document.querySelectorAll(".node .title, .chart .name, .broker text")];
      return [...document.querySelectorAll(".flow-label rect")].flatMap((label) =>
        names.filter((each) => meet(box(each), box(label))).map((each) => each.textContent));
    })()
"""


def test_time_has_a_lane_for_who_is_stuck_and_who_waits_though_nothing_happens(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with ExitStack() as stack:
        made = stack.enter_context(page_mesh.shop(mesh.config))
        made.till.gate.clear()
        made.order(1)
        with serve(0, config=mesh.config()) as before, shown(browser, before) as look:
            look.page.wait_for_selector("#troubles >> text=/till is stuck/")
        # By now these charts have told all that they did.
        page = stack.enter_context(serve(0, config=mesh.config()))
        look = stack.enter_context(shown(browser, page, viewport={"width": 1280, "height": 800}))
        look.page.click("#tab-time")
        look.page.wait_for_selector(".lane.bad:has-text('till')")
        look.page.wait_for_selector(".lane.waits:has-text('desk')")
        assert look.page.locator(".row").count() == 0
        look.page.click("#troubles button:has-text('till is stuck')")
        assert [each.split()[0] for each in look.texts(".lane.chosen title")] == ["till"]
        look.page.keyboard.press("Escape")
        assert look.page.locator(".lane.chosen").count() == 0


def test_the_words_of_time_stay_in_sight_beside_the_panel(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        # Of so many charts each has a lane, and not all lanes fit.
        charts = stack.enter_context(page_mesh.lines(mesh.config, 4, 4))
        look = stack.enter_context(shown(browser, page, viewport={"width": 1280, "height": 500}))
        look.page.click("#tab-time")
        for chart in charts:
            chart.post_fifo(Event(signal="step", payload=3))
        mesh.settle()
        look.until("document.querySelectorAll('.row').length >= 40")
        lanes = look.texts(".lane title")
        look.page.locator(".row:has(.who:has-text('lamp-015'))").last.click()
        look.page.wait_for_selector("#panel ol button")
        assert len(lanes) == len(charts)
        seen = look.page.evaluate(_ROWS)
        assert seen["right"] <= seen["edge"]
        assert seen["words"] == seen["whole"]
        # The last lane is in sight once its chart is chosen.
        look.page.get_by_role("button", name="Open its chart").click()
        look.page.wait_for_selector(".lane.chosen:has-text('lamp-015')")
        look.until(_LANE_SEEN)
        # Neither the newest row nor the first one that is seen is cut; and however often lanes are
        # made, they are in the order of their names.
        look.page.get_by_role("button", name="Pause").click()
        look.page.get_by_role("button", name="Resume").click()
        look.until("document.querySelectorAll('.row').length >= 40")
        assert look.texts(".lane title") == sorted(lanes)
        look.until(_ALIGNED)


_ROWS = """
    (() => {
      const what = [...document.querySelectorAll(".row .what")];
      const canvas = document.querySelector("#view .scroll").getBoundingClientRect();
      const right = Math.max(...what.map((each) => each.getBoundingClientRect().right));
      const sum = (name) => what.reduce((all, each) => all + each[name], 0);
      return { right, edge: canvas.right, words: sum("scrollWidth"), whole: sum("clientWidth") };
    })()
"""
_LANE_SEEN = """
    document.querySelector(".lane.chosen").getBoundingClientRect().right
      <= document.querySelector(".lane-head .words").getBoundingClientRect().left + 1
"""
_ALIGNED = """
    (() => {
      const edge = document.querySelector(".lane-head").getBoundingClientRect().bottom;
      const rows = [...document.querySelectorAll(".row")]
        .map((each) => each.getBoundingClientRect());
      const bottom = document.querySelector("#view .scroll").getBoundingClientRect().bottom;
      return rows.some((each) => each.top === edge) && rows.at(-1).bottom <= bottom;
    })()
"""


def test_a_node_that_is_silent_deaf_or_cut_off_is_red(browser: Browser, mesh: MemoryMesh) -> None:
    peers = PeerStatus("amqp://a:5672//", "down"), PeerStatus("amqp://b:5672//", "blocked")
    charts = (
        ChartStatus("press", "idle", 3, "go", dead=False),
        ChartStatus("saw", "", 1, "cut", dead=True),
    )
    work = (
        ChartWork("press", 4, "", 0.0, (), "its queue is another one's"),
        ChartWork("saw", 0, "", 0.0),
    )
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        node = stack.enter_context(sender(mesh.config()))
        look = stack.enter_context(shown(browser, page))
        said = "plant", "plant", "1nc", 1, time.time(), False, 7, peers, charts, False, work
        node.statuses.network.send("status", WorkingStatus(*said), counted=False)
        look.page.wait_for_selector(".chart.bad")
        assert sorted(look.texts(".chart.bad .name")) == ["press", "saw"]
        words = " ".join(look.texts("#troubles .words"))
        assert "saw is dead: a handler raised at cut" in words
        assert "press hears nothing: its queue is another one's" in words
        assert "plant does not receive from its home broker" in words
        assert "cannot reach amqp://a:5672//" in words
        assert "amqp://b:5672// is blocked" in words
        assert look.page.locator(".broker.bad").count() == 2
        # It says no more: by now it is silent.
        look.page.wait_for_selector("#troubles >> text=/plant is silent for/")


@pytest.fixture
def own_broker(
    rabbitmq_programs: Path, rabbitmq: RabbitServer, tmp_path: Path
) -> Iterator[RabbitServer]:
    """A server that a test may stop; the one of the session stays up."""
    server = RabbitServer(tmp_path / "node", rabbitmq_programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_a_page_that_is_cut_off_says_so_and_calls_no_node_silent(
    browser: Browser, own_broker: RabbitServer
) -> None:
    settings = partial(MeshConfig, broker_url=own_broker.url(), mesh_encryption_key=generate_key())
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=settings()))
        stack.enter_context(page_mesh.shop(settings))
        look = stack.enter_context(shown(browser, page))
        look.until("document.querySelectorAll('.chart').length === 3")
        look.page.evaluate(_KINDS)
        # When its broker ends, which is that of the nodes too
        own_broker.stop()
        # Then that is all that it says, for longer than what makes a node silent
        look.page.wait_for_selector(
            f"#troubles >> text=/this page cannot reach amqp:.*:{own_broker.port}.* \\(.+\\) "
            "for \\d+ s, since \\d\\d:\\d\\d:\\d\\d; what is below is of then/"
        )
        look.page.wait_for_selector(".broker.bad")
        look.page.wait_for_selector("#live[data-state=waits]")
        look.page.wait_for_timeout((SILENT_S + 1) * 1000)
        assert look.page.evaluate("window.kinds") == ["cut off"]
        assert look.page.locator(".chart").count() == 3
        assert look.page.locator(".node.bad, .chart.bad").count() == 0
        # And all is as before once it is back, without a node that was silent meanwhile
        own_broker.start()
        look.page.wait_for_selector("#troubles", state="hidden")
        look.page.wait_for_selector("#live[data-state=live]")
        assert "silent" not in look.page.evaluate("window.kinds")
        assert look.page.locator(".broker.bad").count() == 0


_KINDS = """
    (() => {
      const place = document.querySelector("#troubles");
      window.kinds = [];
      new MutationObserver(() => {
        for (const each of place.querySelectorAll("b"))
          if (!window.kinds.includes(each.textContent)) window.kinds.push(each.textContent);
      }).observe(place, { childList: true, subtree: true, characterData: true });
    })()
"""


def test_frames_of_a_key_that_the_page_lacks_are_told_while_they_come(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        look = stack.enter_context(shown(browser, page))
        other = partial(mesh.config, mesh_encryption_key=generate_key())
        chart = page_mesh.made("lamp", "attic", other)
        stack.callback(chart.stop)
        chart.start_at(page_mesh.green)
        look.page.wait_for_selector(
            "#troubles >> text=/frames of a key that this page does not have come: a node is not "
            "shown; \\d+ in the last 60 s/"
        )
        chart.stop()
        look.page.wait_for_selector("#troubles", state="hidden")
        # What it missed is counted on.
        assert re.search(r"[1-9]\d* unread frames?", look.texts("#summary")[0])


def test_a_chart_without_a_snoop_stream_is_there_and_tells_nothing(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        chart = NetworkedActiveObject("quiet", config=mesh.config(node_name="attic"))
        stack.callback(chart.stop)
        chart.start_at(page_mesh.empty)
        look = stack.enter_context(shown(browser, page))
        look.page.wait_for_selector(".chart.untold:has-text('tells nothing')")
        assert look.texts(".node .sub") == ["no snoop stream"]
        look.page.locator(".chart").click()
        look.page.wait_for_selector("#panel pre:has-text('enable_snoop_trace')")
        chart.stop()
        look.page.wait_for_selector("#graph >> text=No node tells of itself")


def test_who_is_in_a_group_is_shown(browser: Browser, mesh: MemoryMesh) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        for node in ("one", "two", "three"):
            group = {"group": "tills", "group_mode": "share"} if node != "three" else {}
            topic = "shop.till" if group else "shop.other"
            chart = page_mesh.made("till", node, mesh.config, rx_routing_key=topic, **group)
            stack.callback(chart.stop)
            chart.start_at(page_mesh.charging)
        look = stack.enter_context(shown(browser, page))
        look.until("document.querySelectorAll('.chart').length === 3")
        look.page.wait_for_selector(".chart .facts:has-text('group tills')")
        look.page.locator(".chart[aria-label^='till of one']").click()
        look.page.wait_for_selector("#panel dd:text-is('tills, with till of two')")
        assert look.page.locator(".chart.kin").count() == 1
        look.page.fill("input[aria-label='Find a chart']", "tills")
        look.until("document.querySelectorAll('.chart.dim').length === 1")


def test_a_chart_shows_its_states_its_path_and_its_last_lines(
    browser: Browser, mesh: MemoryMesh
) -> None:
    with shop_shown(browser, mesh.config) as (made, look):
        look.page.wait_for_selector(".chart")
        for number in range(4):
            made.order(number)
            mesh.settle()
        made.till.gate.clear()
        made.order(9)
        look.page.click(".chart:has-text('desk')")
        look.page.wait_for_selector(".state.now:has-text('paying')")
        assert look.texts("#panel .state text:not(.hook)") == ["top", "idle", "paying"]
        look.page.wait_for_selector("#panel .arc-label:has-text('order \u00d75')")
        assert look.page.locator("#panel .arc-label:has-text('charged \u00d74')").count() == 1
        assert look.texts("#panel .path .here") == ["paying"]
        assert look.page.locator("#panel .arc.lately").count() == 2
        look.page.wait_for_selector("#panel pre:has-text('e->order() idle->paying')")
        look.page.wait_for_selector("#panel pre:has-text('order:idle')")
        look.until(_WHOLE_LINES)
        look.page.wait_for_selector("#panel dd:has-text('answer to charge()')")
        look.page.keyboard.press("Escape")
        assert look.page.locator("#panel").is_hidden()
        # The focus is back on the chart.
        assert look.page.evaluate("document.activeElement.textContent").startswith("desk of front")


_WHOLE_LINES = """
    (() => {
      const steps = document.querySelector("#panel pre[aria-label='Last steps']");
      const { lineHeight, paddingTop } = getComputedStyle(steps);
      const over = steps.scrollTop - parseFloat(paddingTop);
      return over > 0 && over % parseFloat(lineHeight) === 0;
    })()
"""
"""Whether the newest steps are seen, the first of them whole."""


def test_a_state_is_drawn_within_the_one_that_it_is_in(browser: Browser, mesh: MemoryMesh) -> None:
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        chart = page_mesh.made("counter", "market", mesh.config)
        stack.callback(chart.stop)
        chart.start_at(page_mesh.shut)
        look = stack.enter_context(shown(browser, page))
        look.page.locator(".chart").click()
        for signal in ("unlock", "come", "ring", "pay", "lock", "unlock", "come", "lock"):
            chart.post_fifo(Event(signal=signal))
        look.page.wait_for_selector("#panel .state:has-text('selling')")
        look.until("document.querySelectorAll('#panel .arc').length === 6")
        boxes = look.page.evaluate(_STATES)
        assert boxes.keys() == {"top", "shut", "serving", "waiting", "selling"}
        pairs = [
            (inner, outer)
            for inner, outer in itertools.permutations(boxes, 2)
            if _is_inside(boxes[inner], boxes[outer])
        ]
        assert sorted(pairs) == [("selling", "serving"), ("waiting", "serving")]
        # Those that are not within one another have no place in common.
        flat = [each for name, each in boxes.items() if name != "serving"]
        assert not any(_meet(*two) for two in itertools.combinations(flat, 2))


def _is_inside(one: dict[str, float], other: dict[str, float]) -> bool:
    return (
        other["left"] < one["left"]
        and one["right"] < other["right"]
        and other["top"] < one["top"]
        and one["bottom"] < other["bottom"]
    )


def _meet(one: dict[str, float], other: dict[str, float]) -> bool:
    return (
        one["left"] < other["right"]
        and other["left"] < one["right"]
        and one["top"] < other["bottom"]
        and other["top"] < one["bottom"]
    )


_STATES = """
    Object.fromEntries([...document.querySelectorAll("#panel .state")].map((each) =>
      [each.querySelector("title").textContent,
        each.querySelector("rect").getBoundingClientRect().toJSON()]))
"""


def test_time_grows_pauses_and_tells_what_led_to_what(browser: Browser, mesh: MemoryMesh) -> None:
    with shop_shown(browser, mesh.config) as (made, look):
        made.order(1)
        look.page.click("#tab-time")
        look.page.wait_for_selector(".row:has-text('ship()')")
        made.order(2)
        look.until("document.querySelectorAll('.row .sent').length >= 6")
        look.page.get_by_role("button", name="Pause").click()
        rows = look.page.locator(".row").count()
        made.order(3)
        look.page.wait_for_selector("text=/paused, [1-9].* events? since/")
        assert look.page.locator(".row").count() == rows
        look.page.locator(".row:has-text('ship()')").first.click()
        look.page.wait_for_selector("#panel h3:has-text('What led to it')")
        chain = [each.split("(")[0] for each in look.texts("#panel ol >> nth=0 >> .mono")]
        assert chain == ["order", "charge", "charged", "ship"]
        places = look.texts("#panel ol >> nth=0 >> .faint")
        assert [re.search(r"· (\w+) of (\w+)", each)[1] for each in places] == [  # type: ignore[index]
            *("desk", "till", "desk", "depot")
        ]
        assert look.page.locator(".row.led").count() >= 4
        # From the first cause on, all that it led to.
        look.page.locator("#panel ol button").first.click()
        look.page.wait_for_selector("#panel h3:has-text('Nothing that is known led to it')")
        effects = look.page.locator("#panel ol >> nth=1 >> li")
        assert effects.count() == 3
        look.page.keyboard.press("Escape")
        look.page.get_by_role("button", name="Resume").click()
        look.until("document.querySelectorAll('.row .sent').length >= 9")


def test_time_is_filtered_and_exported_in_every_form(browser: Browser, mesh: MemoryMesh) -> None:
    begins = {
        "text": "",
        "mermaid": "sequenceDiagram",
        "plantuml": "@startuml",
        "svg": "<svg",
        "html": "<!DOCTYPE",
    }
    with shop_shown(browser, mesh.config) as (made, look):
        made.order(1)
        look.page.click("#tab-time")
        look.page.wait_for_selector(".row:has-text('ship()')")
        look.page.fill("input[aria-label='Signal']", "ship")
        look.until("document.querySelectorAll('.row').length === 1")
        look.page.fill("input[aria-label='Signal']", "")
        look.page.fill("input[aria-label='Chart']", "t*")
        look.until(
            "[...document.querySelectorAll('.row .who')].map((each) => each.textContent)"
            ".filter((each, at, all) => all.indexOf(each) === at).join() === 'till'"
        )
        look.page.fill("input[aria-label='Chart']", "")
        look.page.fill("input[aria-label='Text']", "PAYING")
        look.until("document.querySelectorAll('.row').length === 2")
        look.page.fill("input[aria-label='Text']", "")
        look.page.wait_for_selector(".row:has-text('ship()')")
        for form, begin in begins.items():
            look.page.get_by_label("Export as").select_option(form)
            with look.page.expect_download() as download:
                look.page.get_by_role("button", name="Save").click()
            drawn = Path(download.value.path()).read_text()
            assert drawn.startswith(begin)
            assert "ship" in drawn


def test_dead_letters_are_shown_and_nothing_can_be_done_to_them(
    browser: Browser, tmp_path: Path
) -> None:
    config = MeshConfig(home=tmp_path)
    dead_letters.keep(config, dead_letters.refused("<b>knock</b>", {"secret": "tulip"}))
    with serve(0, config=config) as page, shown(browser, page) as look:
        look.page.click("#tab-letters")
        look.page.wait_for_selector("td:has-text('<b>knock</b>')")
        assert "handler: ZeroDivisionError" in look.texts("td")
        assert look.page.locator("button:visible").all_text_contents() == [
            *("Mesh", "Time", "Dead letters", "◐", "Look again")
        ]
        assert look.page.locator("input[type=checkbox]:visible").count() == 0
        token = page.url.partition("token=")[2]
        for path in ("retry", "drop"):
            status, words = _post(page, f"/api/letters/{path}", {"letters": ["x"]}, token)
            assert (status, "--allow-actions" in words) == (403, True)
        assert _get(page, "/api/payload?id=x", token)[0] == 403


def test_a_dead_letter_is_dropped_after_a_question_alone(browser: Browser, tmp_path: Path) -> None:
    config = MeshConfig(home=tmp_path)
    dead_letters.keep(config, *(dead_letters.refused(each, {"n": each}) for each in ("one", "two")))
    with (
        serve(0, config=config, allow_actions=True, allow_payloads=True) as page,
        shown(browser, page) as look,
    ):
        look.page.click("#tab-letters")
        look.page.wait_for_selector("td:has-text('two')")
        drop = look.page.get_by_role("button", name="Drop").first
        assert drop.is_disabled()
        look.page.get_by_role("checkbox", name="Choose one of door").check()
        drop.click()
        assert "Drop 1 letter for good?" in look.texts("#sure-words")[0]
        look.page.click("#sure >> text=Cancel")
        assert look.page.locator("tbody tr").count() == 2
        drop.click()
        look.page.keyboard.press("Escape")
        assert look.page.locator("tbody tr").count() == 2
        drop.click()
        look.page.click("#sure-yes")
        look.page.wait_for_selector("text=1 of 1 letter dropped")
        assert look.page.locator("tbody tr").count() == 1
        look.page.get_by_role("button", name="Show").click()
        look.page.wait_for_selector('td pre:has-text(\'"n": "two"\')')
        # To a chart that is not there: it stays, and the page says why.
        look.page.get_by_role("checkbox").check()
        look.page.get_by_role("button", name="Put back").click()
        look.page.click("#sure-yes")
        look.page.wait_for_selector("text=/0 of 1 letter sent again; /")
        assert look.page.locator("tbody tr").count() == 1


EVIL = [
    each.encode(errors="backslashreplace").decode()
    for each in (
        *HOSTILE,
        "constructor",
        "__proto__",
        "javascript:alert(1)",
        "url(//evil.example/x)",
    )
]


def _hostile(node: Node, name: str, number: int) -> None:
    """Say of a chart what would do harm to a page that believes it."""
    now, run = time.time(), f"{EVIL.index(name)}nc"
    event, cause = f"other/{name}/{number}", f"other/{name}/{number - 1}"
    work = ChartWork(name, 1, event, 9.0, (OpenRequest(event, name, 9.0),), name, name)
    chart = ChartStatus(name, name, 1, name, dead=True)
    peers = (PeerStatus(name, "down"),)
    said = name, name, run, number, now, True, 0, peers, (chart,), False, (work,)
    node.statuses.network.send("status", WorkingStatus(*said), counted=False)
    place = name, name, run, number
    steps = name, name, name, name, event, cause
    node.trace.send([SnoopRecord(*place, "trace", now, *steps)])
    node.spy.send([SnoopRecord(*place, "spy", now, name, name, name, None, event)])


def test_no_name_becomes_markup(browser: Browser, mesh: MemoryMesh) -> None:
    numbers = itertools.count(1)
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        node = stack.enter_context(sender(mesh.config()))
        look = stack.enter_context(shown(browser, page))

        def there(selector: str) -> Callable[[], bool]:
            def look_again() -> bool:
                number = next(numbers)
                for name in EVIL:
                    _hostile(node, name, number)
                look.page.wait_for_timeout(500)
                return look.page.locator(selector).count() >= len(EVIL)

            return look_again

        wait_until(there(".chart.bad"), LIMIT_S)
        for at in range(len(EVIL)):
            look.page.locator(".chart").nth(at).click()
            look.page.wait_for_selector("#panel .state")
            look.page.wait_for_selector("#panel .flows .number")
            assert look.page.evaluate(MARKUP) == []
        look.page.keyboard.press("Escape")
        look.page.click("#tab-time")
        wait_until(there(".row"), LIMIT_S)
        look.page.get_by_role("button", name="Pause").click()
        look.page.locator(".row").last.click()
        look.page.wait_for_selector("#panel ol button")
        assert look.page.evaluate(MARKUP) == []
        assert look.page.evaluate("document.title") == "miros_mesh"
        for words in look.texts(".who, .what, .lane-head text, #panel h2, #panel li"):
            assert not re.search("[\\x00-\\x1f\\u202a-\\u202e\\u2028\\u2029]", words)


MARKUP = """
    [...document.querySelectorAll("*")].filter((each) =>
      each.matches("body script, iframe, object, embed, style, body link, base, meta[http-equiv]")
      || [...each.attributes].some(({ name }) => name.startsWith("on") || name === "style")
      || (each.matches("img, image, use, a")
        && !["icon.svg", "#view"].includes(each.getAttribute("src") ?? each.getAttribute("href")))
    ).map((each) => each.outerHTML)
"""
"""What names could have made: all that loads, runs, links or styles, but what is the page's."""


FOCUS = """
    document.activeElement.id || document.activeElement.getAttribute("aria-label")
      || document.activeElement.textContent
"""


def _press(look: Window, *keys: str) -> list[str]:
    """What has the focus after each of the keys."""
    stops = []
    for key in keys:
        look.page.keyboard.press(key)
        stops.append(str(look.page.evaluate(FOCUS)))
    return stops


def test_a_keyboard_reaches_every_chart(browser: Browser, mesh: MemoryMesh) -> None:
    with shop_shown(browser, mesh.config) as (_, look):
        look.until("document.querySelectorAll('.chart').length === 3")
        stops = _press(look, *["Tab"] * 5)
        # One stop for the tabs, and one for all charts.
        assert [each.split(";")[0] for each in stops] == [
            *("To the view", "tab-mesh", "theme", "Find a chart", "till of bank")
        ]
        walked = _press(look, "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowUp")
        assert {each.split(" ")[0] for each in walked} == {"till", "desk", "depot"}
        _press(look, "Enter")
        look.page.wait_for_selector("#panel h2")
        # Which has the focus by then, and gives it back.
        assert look.page.evaluate(FOCUS) == "Close"
        (back,) = _press(look, "Enter")
        assert back.split(" ")[0] in ("till", "desk", "depot")
        assert look.page.locator("#panel").is_hidden()


def test_a_keyboard_reaches_every_view_and_every_event(browser: Browser, mesh: MemoryMesh) -> None:
    with shop_shown(browser, mesh.config) as (made, look):
        made.order(1)
        look.page.focus("#tab-mesh")
        assert _press(look, "ArrowRight") == ["tab-time"]
        look.page.wait_for_selector(".row:has-text('ship()')")
        mesh.settle()
        look.page.focus(".row >> nth=0")
        first, second, again = _press(look, "ArrowDown", "ArrowDown", "ArrowUp")
        assert first == again != second
        _press(look, "Enter")
        look.page.wait_for_selector("#panel ol")
        assert _press(look, "Escape") == [first]
        look.page.focus("#tab-time")
        assert _press(look, "ArrowRight", "ArrowRight") == ["tab-letters", "tab-mesh"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_light_or_dark_as_the_reader_has_it(
    browser: Browser, mesh: MemoryMesh, scheme: Any
) -> None:
    with (
        serve(0, config=mesh.config()) as page,
        shown(browser, page, color_scheme=scheme) as look,
    ):

        def paper() -> int:
            color = look.page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(map(int, re.findall(r"\d+", color)[:3]))

        assert (paper() > 600) == (scheme == "light")
        look.page.click("#theme")
        assert (paper() > 600) != (scheme == "light")
        look.page.reload()
        # It is kept, and so is the token, which no address shows any more.
        look.page.wait_for_selector("#live[data-state=live]")
        assert (paper() > 600) != (scheme == "light")
        assert "token" not in look.page.url


def test_who_has_not_the_token_sees_nothing(browser: Browser, mesh: MemoryMesh) -> None:
    with serve(0, config=mesh.config()) as page:
        for url in (page.url.partition("#")[0], page.url + "x"):
            with window(browser, url) as look:
                look.page.wait_for_selector("#live[data-state=refused]")
                assert "open the page by the whole address" in look.texts("#view")[0]
        for path in ("about", "mesh", "events", "chart", "moment", "last", "sequence", "letters"):
            assert _get(page, f"/api/{path}", "wrong")[0] == 401
            assert _get(page, f"/api/{path}", "")[0] == 401
        token = page.url.partition("token=")[2]
        assert token not in repr(page)
        # A site whose name leads here.
        assert _get(page, "/api/mesh", token, Host="evil.example")[0] == 421
        assert _get(page, "/", token, Host="evil.example")[0] == 421
        assert _get(page, "/api/mesh", token, Host="localhost:9")[0] == 200


def test_every_answer_has_the_policy(mesh: MemoryMesh) -> None:
    with serve(0, config=mesh.config()) as page:
        token = page.url.partition("token=")[2]
        for path in ("/", "/app.js", "/style.css", "/api/mesh", "/api/nothing", "/../secret"):
            headers = _headers(page, path, token)
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_documentation_opens_with_a_picture_of_a_run(browser: Browser, tmp_path: Path) -> None:
    first, *_ = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "docs" / "index.md").read_text())
    assert first == "images/page.png"
    told = (ROOT / "docs" / "page.md").read_text()
    for name in page_pictures.PICTURES:
        assert f"](images/{name}.png)" in told
        assert _size(page_pictures.IMAGES / f"{name}.png") == (1440, 900)
    # What `make page-pictures` does goes on working.
    page_pictures.three(browser, tmp_path)
    assert _size(tmp_path / "page.png") == (1440, 900)


def _size(picture: Path) -> tuple[int, int]:
    """The width and the height in the head of a PNG."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_500_charts_can_be_read(browser: Browser, mesh: MemoryMesh) -> None:
    nodes = [f"host-{number:02}" for number in range(20)]
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        node = stack.enter_context(sender(mesh.config()))
        look = stack.enter_context(shown(browser, page))
        for at, name in enumerate(nodes):
            charts = tuple(
                ChartStatus(f"lamp-{at * 25 + each:03}", "amber", 5, "step", dead=False)
                for each in range(25)
            )
            said = NodeStatus(name, name, f"{at}nc", 1, time.time(), True, 0, (), charts)
            node.statuses.network.send("status", said, counted=False)
        look.until("document.querySelectorAll('.chart').length === 500")
        boxes = look.page.evaluate(_BOXES)
        assert len({(each["x"], each["y"]) for each in boxes}) == 500
        for box in boxes:
            # The name is whole, within its box, and of a size that is read.
            assert re.fullmatch(r"lamp-\d{3}", box["name"])
            assert box["text"] <= box["w"]
            assert box["size"] >= 11
        rows = sorted(boxes, key=lambda each: (each["y"], each["x"]))
        for left, right in itertools.pairwise(rows):
            assert left["y"] != right["y"] or left["x"] + left["w"] <= right["x"]
        assert max(each["x"] + each["w"] for each in boxes) <= 1440
        look.page.fill("input[aria-label='Find a chart']", "lamp-499")
        look.until("document.querySelectorAll('.chart:not(.dim)').length === 1")


_BOXES = """
    [...document.querySelectorAll(".chart")].map((each) => {
      const [box, name] = [each.querySelector("rect"), each.querySelector(".name")];
      const { x, y, width } = box.getBoundingClientRect();
      const text = name.getBoundingClientRect();
      return { x, y, w: width, text: text.width + 10, name: name.textContent,
        size: parseFloat(getComputedStyle(name).fontSize) };
    })
"""


def test_what_comes_too_fast_is_sampled_and_said_to_be(browser: Browser, mesh: MemoryMesh) -> None:
    ended = threading.Event()
    sent = itertools.count(1)
    with ExitStack() as stack:
        page = stack.enter_context(serve(0, config=mesh.config()))
        node = stack.enter_context(sender(mesh.config()))
        look = stack.enter_context(shown(browser, page))

        def tell() -> None:
            while not ended.wait(0.05):
                now = time.time()
                node.trace.send([_step(next(sent), now) for _ in range(250)])

        thread = threading.Thread(target=tell)
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        look.page.click("#tab-time")
        look.page.wait_for_selector(".note:has-text('Sampled: of about')")
        told = look.texts(".note")[0]
        (shown_a_second,) = re.findall(r"events a second, ([\d,]+) are shown", told)
        assert int(shown_a_second.replace(",", "")) <= MOMENTS_PER_S
        # It keeps up: what happened last is there soon, and the page's memory has a bound.
        look.until("document.querySelectorAll('.row').length >= 900")
        assert look.page.locator(".row").count() <= 1000
        look.page.click("#tab-mesh")
        ended.set()
        thread.join()
        total = next(sent) - 1

        def all_counted() -> bool:
            _, body = _get(
                page, "/api/chart?node=mill&chart=wheel", page.url.partition("token=")[2]
            )
            seen = json.loads(body)
            return int(seen["records"]) + int(seen["missing"]) == total

        # Of those that were not shown, too.
        wait_until(all_counted, LIMIT_S)


def _step(number: int, now: float) -> SnoopRecord:
    states = ("up", "down")[number % 2], ("down", "up")[number % 2]
    return SnoopRecord(
        *("mill", "wheel", "1nc", number, "trace", now, "e->turn()"),
        *("turn", *states, f"1nc/wheel/local-{number}"),
    )


def _get(page: PageServer, path: str, token: str, **headers: str) -> tuple[int, str]:
    return _ask(page, path, token, None, headers)


def _post(page: PageServer, path: str, content: Any, token: str) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    return _ask(page, path, token, json.dumps(content).encode(), headers)


def _ask(
    page: PageServer, path: str, token: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, str]:
    request = _request(page, path, token, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _headers(page: PageServer, path: str, token: str) -> Any:
    try:
        with urllib.request.urlopen(
            _request(page, path, token, None, {}), timeout=LIMIT_S
        ) as answer:
            return answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.headers


def _request(
    page: PageServer, path: str, token: str, body: bytes | None, headers: dict[str, str]
) -> urllib.request.Request:
    given = {"Authorization": f"Bearer {token}", **headers} if token else headers
    return urllib.request.Request(f"http://127.0.0.1:{page.port}{path}", body, given)
