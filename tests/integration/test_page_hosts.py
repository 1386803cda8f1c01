"""The page of a mesh of two hosts, in a Chromium on one of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miros_mesh.wire.keyring import generate_key
from support.browser import chromium, window
from support.namespaces import Host, Network

NEAR, FAR = "near", "far"
PLAN = {NEAR: ["10.6.0.1/24"], FAR: ["10.6.0.2/24"]}
PROGRAM = Path(__file__).parent / "programs" / "relaying.py"
LIMIT_S = 60.0


@pytest.fixture
def network(private_networks: None) -> Iterator[Network]:
    with Network(PLAN) as network:
        yield network


@pytest.fixture
def broker(
    network: Network,
    rabbitmq_programs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """A RabbitMQ on the near host, which the settings of all programs name."""
    server = network[NEAR].rabbitmq(tmp_path / "node", rabbitmq_programs)
    try:
        server.start()
        monkeypatch.setenv("MIROS_MESH_BROKER_URL", server.url(server.new_vhost()))
        monkeypatch.setenv("MIROS_MESH_ENCRYPTION_KEY", generate_key().decode())
        yield
    finally:
        server.close()


@contextmanager
def running(host: Host, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of Python on a host, until the end of the block."""
    with subprocess.Popen(
        host.command(sys.executable, *arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def chromium_of(host: Host, program: str, folder: Path) -> str:
    """A program that is the browser on a host."""
    script = folder / "chromium"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(host.command(program))} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.usefixtures("broker")
def test_charts_of_two_hosts_are_shown_and_a_host_that_is_cut_off_is_silent(
    network: Network, chromium_program: str, tmp_path: Path
) -> None:
    near, far = network[NEAR], network[FAR]
    with (
        running(near, "-m", "miros_mesh", "page", "--port", "0") as served,
        running(near, str(PROGRAM), NEAR, FAR),
        running(far, str(PROGRAM), FAR, NEAR),
        chromium(chromium_of(near, chromium_program, tmp_path)) as browser,
    ):
        assert served.stdout
        with window(browser, served.stdout.readline().strip()) as look:
            look.page.wait_for_selector(".chart .state")
            look.until("document.querySelectorAll('.flow.busy').length === 2")
            assert sorted(look.texts(".node .title")) == [FAR, NEAR]
            assert sorted(look.texts(".chart .name")) == [f"lamp-{FAR}", f"lamp-{NEAR}"]
            assert look.page.locator("#troubles").is_hidden()

            network.cut(FAR)

            look.page.wait_for_selector("#troubles >> text=/far is silent for .* cut off/")
            assert len(look.texts("#troubles .words")) == 1
            look.until("document.querySelectorAll('.flow.busy').length === 0")

            network.mend(FAR)

            look.page.wait_for_selector("#troubles", state="hidden")
            look.until("document.querySelectorAll('.flow.busy').length === 2")
            assert (look.complaints, look.violations) == ([], [])
