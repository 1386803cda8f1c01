"""What `deploy/` makes and runs, as its pages say, for a broker on the loopback interface."""

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


class ContainerBroker:
    """A RabbitMQ with the files that a container of it has, below a folder in place of /etc.

    Its port is another one, and it has a listener more, for the tests' own questions.
    """

    def __init__(self, folder: Path, programs: Path, files: Mapping[str, str]) -> None:
        """Take `files` by their path in the container; those in `conf.d` are read in order."""
        (self.port,) = free_ports(1)
        for path, text in files.items():
            file = folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(0o600)
            file.write_text(text)
        settings = "".join(
            f"{files[path]}\n" for path in sorted(files) if re.fullmatch(r".*/conf\.d/.*\.conf", path)
        )
        settings = settings.replace("/etc/rabbitmq/", f"{folder}/etc/rabbitmq/")
        # The tests' disk is smaller than that of a server.
        settings = re.sub(r"disk_free_limit.*", "", settings)
        settings = settings.replace("listeners.tcp = none\n", "")
        settings = settings.replace("listeners.ssl.default = ", f"listeners.ssl.default = {HOST}:")
        self.server = RabbitServer(
            folder / "node", programs, settings.replace(f"{HOST}:5671", f"{HOST}:{self.port}")
        )
