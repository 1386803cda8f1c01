"""What tests of `deploy/` have in common."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from support import machine, playbooks

NO_SSH = (
    "needs the programs ssh and dropbear: `make proof` as root installs the latter with apt; "
    "otherwise: sudo apt-get install openssh-client dropbear-bin"
)


@pytest.fixture(scope="session")
def ansible(private_networks: None) -> None:
    """This machine can run playbooks, on a `Machine`; where not, as with RabbitMQ."""
    for reason in (playbooks.why_not(), machine.why_not()):
        if reason:
            _missing(reason)


@pytest.fixture(scope="session")
def ssh() -> None:
    """There are a client and a server of ssh; where not, as with RabbitMQ."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    if not all(shutil.which(each, path=path) for each in ("ssh", "dropbear")):
        _missing(NO_SSH)


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
