"""A whole machine for tests: a host of a `namespaces.Network` with files and processes of its own.

Its files are those of the machine that the tests run on, until it changes them: its own are in
memory, and gone with it, as is every process. So a test may install services on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from support import service_manager
from support.doc_pages import ROOT
from support.namespaces import Host, Network, NetworkError
from support.waiting import wait_until

NO_SSH = (
    "needs the programs ssh and dropbear: `make proof` as root installs the latter with apt; "
    "otherwise: sudo apt-get install openssh-client dropbear-bin"
)
NO_MACHINES = (
    "needs a file system of layers (overlayfs) in a Linux namespace ({}): run the tests as root"
)
END_LIMIT_S = 20.0
# A name, a folder for its layer, and the folders that it has in common with the tests' machine.
_HOLD = """
set -e
# Outside of the namespace that begins here.
read -r pid _ < /proc/self/stat
hostname "$1"; layer=$2; shift 2
mount -t tmpfs -o mode=755 none "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" none "$layer/root"
cd "$layer/root"
for each in hosts resolv.conf nsswitch.conf; do cat "/etc/$each" > "etc/$each"; done
mount -t proc none proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs -o mode=755 none run
for each in "$@"; do mkdir -p ".$each"; mount --bind "$each" ".$each"; done
# Not by chroot, within which a service cannot have a namespace of users.
mkdir -p mnt/old
PATH=$PATH:/usr/sbin:/sbin pivot_root . mnt/old
cd /
umount -l /mnt/old
echo "$pid"
"""
_BASH = """
# As the first process of its namespace it is told of the end of those that nobody waits for, which
# bash takes note of, and dash does not. With it all others end.
exec bash -c 'read -r _'
"""
# None of the machine's services, but all of its units.
_SYSTEMD = f"""
exec sh -ec '
{service_manager.OWN_PLACES}
rm -rf /etc/systemd/system/* /lib/systemd/system/*.wants
for each in {" ".join(service_manager.TARGETS)}; do
    printf "{service_manager.TARGET}" > /etc/systemd/system/$each.target
done
{service_manager.START}
'
"""


def why_no_ssh() -> str | None:
    """Why this machine has no client or server of ssh; None when it has."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = (shutil.which(each, path=path) for each in ("ssh", "dropbear", "dropbearkey"))
    return None if all(found) else NO_SSH


@cache
def why_not() -> str | None:
    """Why this machine cannot have such a one; None when it can."""
    with tempfile.TemporaryDirectory(prefix="mesh-machine-") as folder:
        try:
            with (
                Network({"probe": ["10.7.0.1/24"]}) as network,
                Machine(network["probe"], Path(folder, "layer")),
            ):
                return None
        except NetworkError as error:
            return NO_MACHINES.format(error)


class Machine:
    """One that runs while its `with` block does, by a systemd of its own if it is to."""

    def __init__(
        self, host: Host, folder: Path, shared: Sequence[Path] = (), *, systemd: bool = False
    ) -> None:
        self.name = host.name
        self._host = host
        folder.mkdir()
        # A layer has no file systems that are mounted below its base.
        if os.path.ismount(ROOT):
            shared = ROOT, *shared
        apart = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        given = ("sh", host.name, str(folder), *map(str, shared))
        command = host.command(*apart, "sh", "-c", _HOLD + _BASH, *given)
        self._cgroup = service_manager.Cgroup() if systemd else None
        if self._cgroup:
            apart += ["--cgroup", "--ipc"]
            command = host.command(*apart, "sh", "-c", _HOLD + _SYSTEMD, *given)
            command = self._cgroup.command(*command)
        self._holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        self._pid = self._holder.stdout.readline().strip()
        if not self._pid:
            _, why = self._holder.communicate(timeout=END_LIMIT_S)
            self._forget_cgroup()
            raise NetworkError(f"no machine {host.name}: {why.strip()[-1000:]}")
        if systemd:
            wait_until(self._runs_services, END_LIMIT_S, message=f"systemd of {host.name} runs")

    def command(self, *argv: str) -> list[str]:
        """What runs a program here, in the folder /."""
        enter = ["nsenter", "--target", self._pid, "--all", "--root", "--wd"]
        return [*enter, "--", *argv]

    def run(self, *argv: str, limit_s: float = END_LIMIT_S) -> str:
        """Run a program to its end, and return what it prints; fail the test when it fails."""
        done = subprocess.run(
            self.command(*argv), capture_output=True, text=True, timeout=limit_s, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file for root alone, in place of one that is there, with its owner."""
        script = 'umask 077; mkdir -p "${0%/*}"; cat > "$0"'
        subprocess.run(
            self.command("sh", "-c", script, path),
            input=text,
            text=True,
            timeout=END_LIMIT_S,
            check=True,
        )

    @contextmanager
    def serving(self, *argv: str) -> Iterator[None]:
        """Run a program as long as the block does."""
        with subprocess.Popen(
            self.command(*argv), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                yield
            finally:
                server.terminate()

    def close(self) -> None:
        """End every process, and forget every file."""
        self._holder.communicate(timeout=END_LIMIT_S)
        self._forget_cgroup()

    def _forget_cgroup(self) -> None:
        if self._cgroup:
            self._cgroup.remove()

    def _runs_services(self) -> bool:
        command = self.command("systemctl", "is-system-running")
        done = subprocess.run(command, capture_output=True, timeout=END_LIMIT_S, check=False)
        return done.stdout == b"running\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
