"""A private rsyslog for tests, and the Elasticsearch that it delivers to.

Nothing of the machine's own rsyslog is touched: own configuration, own folder, loopback only.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
NO_RSYSLOG = (
    "needs rsyslog with its Elasticsearch output: `make test` as root installs it with apt; "
    "otherwise: sudo apt-get install rsyslog rsyslog-elasticsearch"
)
END_LIMIT_S = 20.0
# A program that ends with its input, and so with the test run, however that ends.
_UNTIL_INPUT_ENDS = '"$@" & read -r _; kill $!; wait $!'
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def why_not() -> str | None:
    """Why this machine cannot ship with rsyslog; None when it can."""
    if shutil.which("rsyslogd", path=_PATH) is None:
        return NO_RSYSLOG
    libraries = Path("/usr/lib")
    places = ["*/rsyslog/omelasticsearch.so", "rsyslog/omelasticsearch.so"]
    return None if any(any(libraries.glob(place)) for place in places) else NO_RSYSLOG


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    """What rsyslog says of a configuration file, which it does not follow."""
    return subprocess.run(
        ["rsyslogd", "-N1", "-f", str(file)],
        env={**os.environ, "PATH": _PATH},
        check=False,
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
    )


class Rsyslog:
    """One rsyslog with this configuration, from `start` to `stop`; its folder is made for it."""

    def __init__(self, folder: Path, configuration: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._said = folder / "said"
        self._file = folder / "rsyslog.conf"
        self._file.write_text(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["-n", "-f", str(self._file), "-i", str(self._folder / "pid")]
        with self._said.open("a") as said:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_INPUT_ENDS, "sh", "rsyslogd", *options],
                env={**os.environ, "PATH": _PATH},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def stop(self) -> str:
        """Let it end; what it said of itself."""
        if self._process:
            self._process.communicate(timeout=END_LIMIT_S)
            self._process = None
        return self._said.read_text() if self._said.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Elasticsearch:
    """The bulk API as far as a shipper uses it: keeps every document under its id."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        """The documents as they came, each a line."""
        self.indices: set[str] = set()
        self.ids: set[str] = set()
        self.refusals: list[int] = []
        """The status for the next documents, in place of taking them."""
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer((HOST, 0), _handler(self))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def take(self, body: str) -> list[dict[str, Any]]:
        """Answer a bulk request."""
        lines = body.splitlines()
        return [
            self._take(json.loads(action), document)
            for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]

    def _take(self, action: dict[str, Any], document: str) -> dict[str, Any]:
        ((verb, target),) = action.items()
        with self._lock:
            if self.refusals:
                status = self.refusals.pop(0)
                error = {"type": "refused", "reason": "the test says so"}
                return {verb: {**target, "status": status, "error": error}}
            if target["_id"] in self.ids:
                return {verb: {**target, "status": HTTPStatus.CONFLICT}}
            self.ids.add(target["_id"])
            self.indices.add(target["_index"])
            self.bodies.append(document)
            return {verb: {**target, "status": HTTPStatus.CREATED}}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(store: Elasticsearch) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK, {})

        def do_HEAD(self) -> None:
            self._answer(HTTPStatus.OK, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            items = store.take(body)
            errors = any(item[verb]["status"] != 201 for item in items for verb in item)
            self._answer(HTTPStatus.OK, {"took": 1, "errors": errors, "items": items})

        def _answer(self, status: HTTPStatus, answer: object) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
