"""`miros-mesh page`, as an operator runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miros_mesh.observe.page.serve import serve
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.keyring import generate_key

LIMIT_S = 60.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "miros_mesh", "page", *arguments]


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command and the address that it prints."""
    with subprocess.Popen(
        command("--port", "0", *arguments),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_it_prints_the_address_of_a_page_and_ends_in_good_order() -> None:
    with running() as (process, url):
        address, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/#token=([\w-]{32})", url).groups()  # type: ignore[union-attr]
        with urllib.request.urlopen(address, timeout=LIMIT_S) as answer:
            assert b"miros_mesh" in answer.read()
        request = urllib.request.Request(
            f"{address}/api/about", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            about = json.load(answer)
        assert (about["actions"], about["payloads"]) == (False, False)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, err) == (0, "")


def test_its_token_may_be_in_a_file_that_only_its_user_may_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("a token of an operator".replace(" ", "-"))
    with running("--token-file", str(file), "--allow-actions") as (_, url):
        assert url.endswith("/#token=a-token-of-an-operator")
    file.chmod(0o644)
    told = _run("--token-file", str(file))
    assert told.returncode == 2
    assert "--token-file" in told.stderr
    assert "a-token" not in told.stderr


@pytest.mark.parametrize(("token", "says"), [("short", "16 characters"), ("a b" * 9, "no space")])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, token: str, says: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(token)
    told = _run("--token-file", str(file))
    assert told.returncode == 1
    assert says in told.stderr
    assert token not in told.stderr


def test_a_port_in_use_is_named_before_the_mesh_is_joined() -> None:
    with serve(0, config=MemoryMesh().config()) as page:
        # Nothing listens there: to reach it would take longer, and fail for another reason.
        elsewhere = {"MIROS_MESH_ENCRYPTION_KEY": generate_key().decode()}
        told = _run("--port", str(page.port), "--broker", "amqp://127.0.0.1:1//", **elsewhere)
    assert told.returncode == 1
    assert f"port {page.port} of 127.0.0.1 is in use" in told.stderr


def test_it_opens_no_browser_where_there_is_no_display_and_a_private_file_where_there_is(
    tmp_path: Path,
) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    # What the desktop would start: it notes what it was given, and what is there.
    browser.write_text(
        f'#!/bin/sh\nfile="${{1#file://}}"\n{{ echo "$1"; stat -c %a "$(dirname "$file")"; '
        f'cat "$file"; }} > {seen}.new && mv {seen}.new {seen}\n'
    )
    browser.chmod(0o700)
    blind = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": str(browser)}
    with running("--open", "--seconds", "1", **blind) as (process, _):
        process.wait(LIMIT_S)
    assert not seen.exists()
    with running("--open", "--seconds", "5", **{**blind, "DISPLAY": ":7"}) as (process, url):
        process.wait(LIMIT_S)
    given, mode, *page = seen.read_text().splitlines()
    # No user who lists the processes sees the token, and none can read the file.
    assert "token" not in given
    assert mode == "700"
    assert url in "".join(page)
    assert not Path(given.removeprefix("file://")).exists()


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
