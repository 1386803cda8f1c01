"""The WSGI app of the page: its files for all, and what it shows for those who have the token."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

from miros_mesh.errors import MeshError, TraceError
from miros_mesh.observe.page.access import HEADERS, Access
from miros_mesh.observe.page.board import Board
from miros_mesh.observe.page.files import File, files
from miros_mesh.observe.page.letters import Allowed, LetterDesk
from miros_mesh.observe.page.stream import MOMENTS_PER_S, Readers, events
from miros_mesh.observe.page.wanted import Wanted
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.forms import FORMATS
from miros_mesh.observe.version import version
from miros_mesh.text import logger_of

logger = logger_of(__name__)

MAX_READERS: Final = 8
MAX_BODY_BYTES: Final = 64 * 1024
MAX_CHOSEN: Final = 1_000
MAX_LAST: Final = 2_000
_JSON: Final = "application/json"

Query = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What is answered: a status line of HTTP, a body, and what it is."""

    status: str
    body: bytes
    type: str = _JSON


class RefusedError(Exception):
    """A request that is answered with an error; its text is for who has asked."""

    def __init__(self, status: str, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class PageApp:
    """Answers a browser; `ended` ends what it streams."""

    def __init__(self, board: Board, desk: LetterDesk, access: Access, allowed: Allowed) -> None:
        self.ended = threading.Event()
        self._board = board
        self._desk = desk
        self._access = access
        self._allowed = allowed
        self._files = files()
        self._readers = Readers(MAX_READERS)
        self._get: dict[str, Callable[[Query], Answer]] = {
            "/api/about": self._about,
            "/api/mesh": lambda _: _json(board.mesh()),
            "/api/chart": self._chart,
            "/api/moment": self._moment,
            "/api/last": self._last,
            "/api/sequence": self._sequence,
            "/api/letters": lambda _: _json(desk.list()),
            "/api/payload": self._payload,
        }
        self._post: dict[str, Callable[[list[str]], Mapping[str, Any]]] = {
            "/api/letters/retry": desk.retry,
            "/api/letters/drop": desk.drop,
        }

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333). What raises is logged, and answered with 500."""
        path = environ.get("PATH_INFO", "")
        try:
            self._check(environ, path)
            if path == "/api/events":
                return self._stream(start)
            answer = self._answer(environ, path)
        except RefusedError as refused:
            answer = _problem(refused.status, str(refused))
        except MeshError as error:
            # Its words are made for an operator, and hold no secret.
            answer = _problem("502 Bad Gateway", str(error))
        except Exception:
            logger.exception("%s could not be answered", path)
            answer = _problem("500 Internal Server Error", "see the log of the page's server")
        headers = [("Content-Type", answer.type), ("Content-Length", str(len(answer.body)))]
        start(answer.status, [*headers, *HEADERS])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _check(self, environ: WSGIEnvironment, path: str) -> None:
        if not self._access.knows_host(environ):
            raise RefusedError("421 Misdirected Request", "ask for 127.0.0.1 or localhost")
        if path.startswith("/api/") and not self._access.admits(environ):
            raise RefusedError(
                "401 Unauthorized", "open the page by the whole address that its server printed"
            )

    def _answer(self, environ: WSGIEnvironment, path: str) -> Answer:
        method = environ["REQUEST_METHOD"]
        if path in self._post:
            if method != "POST":
                raise RefusedError("405 Method Not Allowed", "take POST")
            return self._act(environ, path)
        if method not in ("GET", "HEAD"):
            raise RefusedError("405 Method Not Allowed", "take GET")
        if path in self._get:
            query = dict(parse_qsl(environ.get("QUERY_STRING", ""), max_num_fields=10))
            return self._get[path](query)
        if file := self._files.get(path):
            return _of(file)
        raise RefusedError("404 Not Found", "there is no such page")

    def _stream(self, start: StartResponse) -> Iterable[bytes]:
        stream = self._readers.admit(partial(events, self._board, self.ended))
        if stream is None:
            raise RefusedError(
                "503 Service Unavailable", f"{MAX_READERS} pages are open already: close one"
            )
        start("200 OK", [("Content-Type", "text/event-stream"), *HEADERS])
        return stream

    def _about(self, _: Query) -> Answer:
        about = {
            "version": version(),
            "actions": self._allowed.actions,
            "payloads": self._allowed.payloads,
            "moments_per_s": MOMENTS_PER_S,
            "forms": list(FORMATS),
        }
        return _json(about)

    def _chart(self, query: Query) -> Answer:
        # Null for one of which no record came, which is no error: it may be there all the same.
        return _json(self._board.chart(query.get("node", ""), query.get("chart", "")))

    def _moment(self, query: Query) -> Answer:
        number = query.get("id", "")
        if not (number.isdecimal() and len(number) <= 18):  # noqa: PLR2004 - digits of 64 bits
            raise RefusedError("400 Bad Request", "id is a number")
        return _found(self._board.moment(int(number)))

    def _last(self, query: Query) -> Answer:
        return _json({"moments": self._board.last(Wanted.of(query), MAX_LAST)})

    def _sequence(self, query: Query) -> Answer:
        form = query.get("format", "")
        if form not in FORMATS:
            raise RefusedError("400 Bad Request", f"format is one of {', '.join(FORMATS)}")
        try:
            drawn = FORMATS[form].draw(diagram(self._board.records(Wanted.of(query))))
        except TraceError as error:
            raise RefusedError("404 Not Found", str(error)) from None
        # Never shown in the page's place: a browser is to save it.
        return Answer("200 OK", drawn.encode(), "application/octet-stream")

    def _payload(self, query: Query) -> Answer:
        if not self._allowed.payloads:
            raise RefusedError(
                "403 Forbidden",
                "payloads are shown where the page has --allow-payloads",
            )
        return _json(self._desk.payload(query.get("id", "")))

    def _act(self, environ: WSGIEnvironment, path: str) -> Answer:
        if not self._allowed.actions:
            raise RefusedError(
                "403 Forbidden",
                "letters may be put back or dropped where the page was started "
                "with --allow-actions",
            )
        return _json(self._post[path](_letters(environ)))


def _letters(environ: WSGIEnvironment) -> list[str]:
    """Return the letters that a request names; raises `RefusedError`."""
    wrong = RefusedError("400 Bad Request", 'the body is {"letters": [ID, ...]} in JSON')
    length = environ.get("CONTENT_LENGTH", "")
    if environ.get("CONTENT_TYPE") != _JSON or not length.isdecimal():
        raise wrong
    if int(length) > MAX_BODY_BYTES:
        raise RefusedError("413 Content Too Large", "name fewer letters")
    try:
        body = json.loads(environ["wsgi.input"].read(int(length)))
    except (ValueError, RecursionError):
        raise wrong from None
    letters = body.get("letters") if isinstance(body, dict) else None
    if not (isinstance(letters, list) and all(isinstance(each, str) for each in letters)):
        raise wrong
    if not 0 < len(letters) <= MAX_CHOSEN:
        raise RefusedError("400 Bad Request", f"name 1 to {MAX_CHOSEN:,} letters")
    return letters


def _json(content: Any) -> Answer:
    return Answer("200 OK", json.dumps(content, default=str).encode())


def _found(content: Any) -> Answer:
    if content is None:
        raise RefusedError("404 Not Found", "nothing is known of it, or no more")
    return _json(content)


def _problem(status: str, problem: str) -> Answer:
    return Answer(status, json.dumps({"problem": problem}).encode())


def _of(file: File) -> Answer:
    return Answer("200 OK", file.content, file.type)
