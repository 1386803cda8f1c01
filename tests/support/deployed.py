"""What `deploy/` makes and runs, as its pages say, on the loopback interface."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.doc_pages import ROOT
from support.rabbitmq_server import HOST, RabbitServer, free_ports

DEPLOY = ROOT / "deploy"
SCRIPT = DEPLOY / "secrets.sh"
HOSTS = (HOST, "localhost", "*.nodes.example")
LIMIT_S = 60.0


def make_secrets(folder: Path, **environment: str) -> None:
    """Run the script that makes certificates, password and key."""
    subprocess.run(
        ["sh", str(SCRIPT), str(folder), *HOSTS],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each file under its path in a container, below a folder, for its owner alone."""
    for path, text in files.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_text(text)


class BrokerOfContainer:
    """A RabbitMQ with the files of a container, below a folder.

    Its port for TLS is another one, and it listens without TLS as well, for the tests' own
    questions.
    """

    def __init__(self, folder: Path, programs: Path, files: Mapping[str, str]) -> None:
        (self.port,) = free_ports(1)
        write_files(folder, files)
        conf = "\n".join(
            files[path] for path in sorted(files) if re.search(r"/conf\.d/[^/]+\.conf$", path)
        )
        for old, new in (
            ("listeners.tcp = none\n", ""),
            ("listeners.ssl.default = 5671\n", f"listeners.ssl.default = {HOST}:{self.port}\n"),
            # The disk of a test may be smaller than that of a server.
            ("disk_free_limit.absolute = 2GB\n", "disk_free_limit.absolute = 1MB\n"),
            ("/etc/rabbitmq/", f"{folder}/etc/rabbitmq/"),
        ):
            assert old in conf
            conf = conf.replace(old, new)
        self.server = RabbitServer(folder / "node", programs, f"{conf}\n")
