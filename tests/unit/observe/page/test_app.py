"""What the page's app refuses, without a browser."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast
from wsgiref.util import setup_testing_defaults

import pytest

from miros_mesh.errors import BrokerUnreachableError
from miros_mesh.observe.page.access import Access
from miros_mesh.observe.page.app import MAX_BODY_BYTES, MAX_READERS, PageApp
from miros_mesh.observe.page.board import Board
from miros_mesh.observe.page.letters import Allowed, LetterDesk
from miros_mesh.observe.page.rolls import Rolls
from miros_mesh.observe.page.stream import Told, event
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.testing.memory import MemoryMesh

TOKEN = "a-token-of-this-test"


class Broken:
    """A box whose broker is away."""

    def list(self) -> Any:
        raise BrokerUnreachableError("amqp://there//", "nothing listens there")


class Browser:
    """Asks an app, and keeps the last answer."""

    def __init__(self, app: PageApp) -> None:
        self.app = app
        self.status, self.headers = 0, dict[str, str]()

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **changes: str) -> Any:
        environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method}
        environ["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
        environ["HTTP_HOST"] = "127.0.0.1:8470"
        environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"] = "application/json", str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        setup_testing_defaults(environ)

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            self.status, self.headers = int(status[:3]), dict(headers)

        return self.app(environ | changes, start)

    def json(self, path: str, method: str = "GET", body: bytes = b"", **changes: str) -> Any:
        answer = b"".join(self.ask(path, method, body, **changes))
        assert self.headers["Content-Length"] == str(len(answer)) or method == "HEAD"
        return json.loads(answer) if answer else None


@pytest.fixture
def board() -> Board:
    config = MemoryMesh().config()
    # It is not started: nothing comes.
    return Board(Overview(config), SnoopMonitor(config), Rolls(config))


@pytest.fixture
def browser(board: Board) -> Browser:
    desk = LetterDesk(lambda: nullcontext(cast("Any", Broken())))
    access = Access(TOKEN, loopback=True)
    return Browser(PageApp(board, desk, access, Allowed(actions=True, payloads=True)))


@pytest.mark.parametrize(
    ("path", "method", "changes", "status"),
    [
        ("/", "GET", {}, 200),
        ("/", "HEAD", {}, 200),
        ("/", "POST", {}, 405),
        ("/index.html", "GET", {"HTTP_AUTHORIZATION": ""}, 200),
        ("/api/mesh", "GET", {}, 200),
        ("/api/mesh", "GET", {"HTTP_AUTHORIZATION": f"bearer {TOKEN}"}, 401),
        ("/api/mesh", "GET", {"HTTP_AUTHORIZATION": f"Bearer {TOKEN} "}, 401),
        ("/api/mesh", "GET", {"HTTP_AUTHORIZATION": "Bearer \xff"}, 401),
        ("/api/mesh", "GET", {"HTTP_HOST": "[::1]:8470"}, 200),
        ("/api/mesh", "GET", {"HTTP_HOST": "localhost"}, 200),
        ("/api/mesh", "GET", {"HTTP_HOST": "127.0.0.1.evil.example"}, 421),
        ("/api/mesh", "GET", {"HTTP_HOST": ""}, 421),
        ("/api/nothing", "GET", {}, 404),
        ("/../../etc/passwd", "GET", {}, 404),
        ("/site/app.js", "GET", {}, 404),
        ("/api/chart", "GET", {"QUERY_STRING": "node=a&chart=b"}, 200),
        ("/api/moment", "GET", {"QUERY_STRING": "id=1"}, 404),
        ("/api/moment", "GET", {"QUERY_STRING": "id=-1"}, 400),
        ("/api/moment", "GET", {"QUERY_STRING": "id=" + "9" * 99}, 400),
        ("/api/sequence", "GET", {"QUERY_STRING": "format=exe"}, 400),
        ("/api/sequence", "GET", {"QUERY_STRING": "format=svg"}, 404),
        ("/api/letters/drop", "GET", {}, 405),
    ],
)
def test_what_is_asked_for_is_answered_or_refused(
    browser: Browser, path: str, method: str, changes: dict[str, str], status: int
) -> None:
    b"".join(browser.ask(path, method, **changes))
    assert browser.status == status
    assert "default-src 'none'" in browser.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b'{"letters": ["x"]}', {"CONTENT_TYPE": "text/plain"}, 400),
        (b'{"letters": ["x"]}', {"CONTENT_LENGTH": ""}, 400),
        (b'{"letters": ["x"]}', {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)}, 413),
        (b'{"letters": []}', {}, 400),
        (b'{"letters": [1]}', {}, 400),
        (b'{"letters": "x"}', {}, 400),
        (b"[]", {}, 400),
        (b"\xff", {}, 400),
        (b"[" * 50_000, {}, 400),
    ],
)
def test_an_action_needs_a_list_of_letters(
    browser: Browser, body: bytes, changes: dict[str, str], status: int
) -> None:
    browser.json("/api/letters/drop", "POST", body, **changes)
    assert browser.status == status


def test_a_broker_that_is_away_is_said_in_its_words(browser: Browser) -> None:
    told = browser.json("/api/letters")
    assert browser.status == 502
    assert "nothing listens there" in told["problem"]


def test_a_fault_of_ours_is_logged_and_not_shown(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Broken, "list", lambda _: 1 / 0)
    told = browser.json("/api/letters")
    assert (browser.status, told["problem"]) == (500, "see the log of the page's server")
    assert "/api/letters could not be answered" in caplog.text


def test_the_page_that_is_one_too_many_is_refused_until_another_one_closes(
    browser: Browser,
) -> None:
    streams = [browser.ask("/api/events") for _ in range(MAX_READERS)]
    assert b"event: mesh" in next(iter(streams[0]))
    browser.json("/api/events")
    assert browser.status == 503
    # As a server does, at the end of what it answers; twice does no harm.
    streams[0].close()
    streams[0].close()
    streams.append(browser.ask("/api/events"))
    assert browser.status == 200
    browser.json("/api/events")
    assert browser.status == 503
    browser.app.ended.set()
    # Those that are read end.
    assert list(streams[-1]) == []


def test_a_stream_that_breaks_is_logged_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    told = Told(cast("Any", broken()), lambda: None)
    with caplog.at_level(logging.ERROR):
        assert list(told) == [b"first"]
    assert "a stream of the page has ended" in caplog.text


def test_an_event_is_one_line_whatever_it_holds() -> None:
    told = event("mesh", {"name": "a\n\nevent: evil\ndata: \u2028"})
    assert told.count(b"\n") == 3
    assert told.endswith(b"\n\n")


def test_readers_need_no_thread_of_the_board(board: Board) -> None:
    before = threading.active_count()
    assert board.mesh()["charts"] == []
    assert board.moments_since(0, 9) == ([], 0, 0)
    assert threading.active_count() == before
