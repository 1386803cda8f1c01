"""The playbooks of `deploy/ansible`, run with Ansible as their README says."""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from support import lan_guard
from support.doc_pages import ROOT

NO_ANSIBLE = "needs Ansible in .venv-ansible, and the packages in .build/packages: `make test`"
PACKAGES = ROOT / ".build" / "packages"
# For a machine without a way out, with the Python that the packages are for.
PYTHON = Path(sys.executable).resolve()
OFFLINE: dict[str, object] = {
    "mesh_python": str(PYTHON),
    "mesh_pip_environment": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(PACKAGES)},
}
# As a login has it.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# For a machine that is busy besides: the first run installs three hosts.
LIMIT_S = 1500.0

_PROGRAMS = ROOT / ".venv-ansible" / "bin"
# What a machine of a test needs of this one.
SHARED = (PACKAGES, _PROGRAMS.parent)
_RECAP = re.compile(
    r"^(?P<host>\S+) +: ok=\d+ +changed=(?P<changed>\d+) "
    r"+unreachable=(?P<away>\d+) +failed=(?P<failed>\d+)",
    re.MULTILINE,
)


def why_not() -> str | None:
    """Why this machine cannot run a playbook; None when it can."""
    there = (_PROGRAMS / "ansible-playbook").exists() and PACKAGES.exists()
    return None if there else NO_ANSIBLE


@dataclass(frozen=True)
class Run:
    """What became of a command."""

    code: int
    said: str

    @property
    def changed(self) -> dict[str, int]:
        """How much was changed on each host."""
        return {each["host"]: int(each["changed"]) for each in _RECAP.finditer(self.said)}

    @property
    def stopped(self) -> set[str]:
        """The hosts on which a task failed, or that could not be reached."""
        found = _RECAP.finditer(self.said)
        return {each["host"] for each in found if int(each["away"]) or int(each["failed"])}


class Controller:
    """Where an operator works: a copy of what the playbooks need of the repository, and a vault."""

    def __init__(self, folder: Path, inside: Sequence[str] = ()) -> None:
        folder = folder / "controller"
        self._home = folder / "home"
        self._home.mkdir(parents=True)
        self._inside = inside
        self._numbers = itertools.count(1)
        self.folder = folder / "repository" / "deploy" / "ansible"
        self.inventory = self.folder / "inventory"
        shutil.copytree(ROOT / "deploy", self.folder.parent)
        shutil.copytree(ROOT / ".ci" / "lock", folder / "repository" / ".ci" / "lock")
        password = self._home / "vault-password"
        password.touch(0o600)
        password.write_text(secrets.token_hex(16))
        self._environment = {
            "HOME": str(self._home),
            "PATH": f"{_PROGRAMS}:{PATH}",
            "LANG": "C.UTF-8",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(password),
            lan_guard.VARIABLE: lan_guard.OFF,
        }

    def prepare(self, settings: Mapping[str, object]) -> None:
        """Write settings over those of the example."""
        file = self.inventory / "group_vars" / "all" / "test.yml"
        file.write_text(yaml.safe_dump(dict(settings)))

    def shell(self, script: str, limit_s: float = LIMIT_S) -> Run:
        """Run commands of a page in the folder of the playbooks."""
        # A file, which is there to be read when the limit is reached.
        said = self._home / f"said-{next(self._numbers)}.txt"
        with said.open("w") as output:
            done = subprocess.run(
                [*self._inside, "sh", "-eu", "-c", f'cd "$0"\n{script}', str(self.folder)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
        return Run(done.returncode, said.read_text())

    def play(self, *arguments: str) -> Run:
        """Run a playbook."""
        return self.shell(" ".join(["ansible-playbook", *arguments]))
