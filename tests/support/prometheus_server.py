"""A private Prometheus for tests: own port, own folder, nothing but loopback.

It ends with the test run, even when the test run is killed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from support.rabbitmq_server import HOST, UNTIL_INPUT_ENDS, free_ports
from support.waiting import wait_until

LIMIT_S = 30.0
Labels = dict[str, str]


class PrometheusError(Exception):
    """A query that Prometheus refuses, in its words."""


def find_program(name: str) -> str | None:
    """Where `prometheus` or `promtool` is."""
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")


class Prometheus:
    """A server that runs while its `with` block does; settings as for production."""

    def __init__(self, folder: Path, config: Path) -> None:
        (self._port,) = free_ports(1)
        self._folder = folder
        self._config = config

    def __enter__(self) -> Self:
        program = find_program("prometheus")
        assert program
        with (self._folder / "output.txt").open("wb") as output:
            self._server = subprocess.Popen(
                [
                    *("/bin/sh", "-c", UNTIL_INPUT_ENDS, "sh", program),
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={HOST}:{self._port}",
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, LIMIT_S, message="Prometheus is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=LIMIT_S)

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """The values of this moment by their labels. Raises `PrometheusError`."""
        answer = self._ask("query", query=expression)
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def alerts(self) -> set[str]:
        """The names of the rules that it has loaded."""
        groups = self._ask("rules")["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}

    def _ask(self, call: str, **parameters: str) -> Any:
        where = f"http://{HOST}:{self._port}/api/v1/{call}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(where, timeout=LIMIT_S) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise PrometheusError(json.load(error)["error"]) from None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self._port}/-/ready", timeout=5):
                return True
        except OSError:
            return False
