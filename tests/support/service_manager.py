"""A systemd of a test's own: process 1 in namespaces, which end with the test run.

It sees the machine's programs and network, and has folders of its own where it writes: `/etc`,
`/run`, `/var/lib`. Of the machine's units it has none, and its systemd is not touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from support.doc_pages import ROOT
from support.waiting import wait_until

NO_SYSTEMD: Final = (
    "needs systemd: `make test` as root installs it with apt; "
    "otherwise: sudo apt-get install systemd"
)
NO_SERVICES: Final = "needs root, and a cgroup2 file system that it may write to: {}"
LIMIT_S: Final = 60.0
_PROGRAM: Final = "/lib/systemd/systemd"
# Of a machine's units only what every service depends on, and nothing that they would start.
TARGETS: Final = ("sysinit", "basic", "shutdown", "network-online", "multi-user")
TARGET: Final = "[Unit]\nDefaultDependencies=no\n"
_ACCOUNTS: Final = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts", "resolv.conf")
# Unlike SIGTERM, SIGKILL reaches a program that waits for its child.
_UNTIL_INPUT_ENDS: Final = '"$@" & read -r _; kill -KILL $!; wait $! 2>/dev/null'
_NAMESPACES: Final = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"),
    *("--cgroup", "--ipc", "--uts"),
)
# /proc/sys is the machine's, or would be.
OWN_PLACES: Final = """
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
for generators in /lib/systemd/system-generators /usr/lib/systemd/system-generators; do
    if [ -d "$generators" ]; then mount -t tmpfs tmpfs "$generators"; fi
done
# Among its own services alone: what it mounts for one, as credentials, has to reach it.
mount --make-rshared /
"""
START: Final = f"""
exec env container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin {_PROGRAM} \\
    --system --unit=multi-user.target --log-target=null --show-status=no
"""
_SET_UP: Final = f"""
set -e
# Outside of the namespace that begins here.
read -r pid _ < /proc/self/stat
{OWN_PLACES}
mount --bind "$1/opt" /opt
mount --bind "$1/lib" /var/lib
mount --bind "$1/etc" /etc
hostname machine
export SYSTEMD_UNIT_PATH=/etc/systemd/system
echo "$pid"
{START}
"""


class SystemdError(Exception):
    """A command that systemd refuses, in its words."""


def find_program(name: str) -> str | None:
    """Where a program of systemd is."""
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")


@cache
def why_not() -> str | None:
    """Why this machine cannot have one; None when it can."""
    if not Path(_PROGRAM).exists():
        return NO_SYSTEMD
    if os.geteuid():
        return NO_SERVICES.format("this is another user")
    try:
        Cgroup().remove()
    except (OSError, StopIteration) as error:
        return NO_SERVICES.format(repr(error))
    return None


class Cgroup:
    """A control group below that of this process, which systemd has for its services."""

    def __init__(self) -> None:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        mounted = next(words[1] for words in mounts if words[2] == "cgroup2")
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        self._folder = Path(mounted) / own / f"mesh-test-{secrets.token_hex(4)}"
        self._folder.mkdir()

    def command(self, *argv: str) -> list[str]:
        """What runs a program in it until its input ends, and kills it then."""
        script = f'echo $$ > "$0" && {{ {_UNTIL_INPUT_ENDS}; }}'
        return ["/bin/sh", "-c", script, str(self._folder / "cgroup.procs"), *argv]

    def remove(self) -> None:
        """Remove it when the last of its processes has ended."""
        inner = sorted((path for path in self._folder.rglob("*") if path.is_dir()), reverse=True)
        for folder in (*inner, self._folder):
            # The last process may be on its way out.
            wait_until(partial(_removed, folder), LIMIT_S, message=f"no process is in {folder}")


class Systemd:
    """Runs while its `with` block does, with the units and files that tests put into `etc`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etc = folder / "etc"
        """What it has at /etc."""
        self.lib = folder / "lib"
        """What it has at /var/lib."""
        self.opt = folder / "opt"
        """What it has at /opt."""
        self.units = self.etc / "systemd" / "system"

    def __enter__(self) -> Self:
        self._write_files()
        self._cgroup = Cgroup()
        self._holder = subprocess.Popen(
            self._cgroup.command(*_NAMESPACES, "/bin/sh", "-c", _SET_UP, "sh", str(self.folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert self._holder.stdout
            # The number of the new process 1, as this machine counts.
            self._pid = int(self._holder.stdout.readline())
            wait_until(self._answers, LIMIT_S, message="systemd answers")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it with all of its services, as a power cut would."""
        self._holder.communicate(timeout=LIMIT_S)
        self._cgroup.remove()

    def systemctl(self, *arguments: str) -> str:
        """Run a command to its end, and return what it prints. Raises `SystemdError`."""
        done = subprocess.run(
            self.command("systemctl", "--no-pager", *arguments),
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise SystemdError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def command(self, *argv: str) -> list[str]:
        """What runs a program beside its services."""
        return ["nsenter", "--target", str(self._pid), "--mount", "--pid", "--", *argv]

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What it says of a unit."""
        said = self.systemctl("show", unit, *(f"--property={each}" for each in properties))
        return dict(line.split("=", 1) for line in said.splitlines())

    def _write_files(self) -> None:
        for folder in (self.units, self.lib, self.opt):
            folder.mkdir(parents=True)
        for name in _ACCOUNTS:
            with suppress(FileNotFoundError):
                shutil.copy(f"/etc/{name}", self.etc)
        for target in TARGETS:
            (self.units / f"{target}.target").write_text(TARGET)

    def _answers(self) -> bool:
        if self._holder.poll() is not None:
            raise AssertionError("systemd ended at its start")
        with suppress(SystemdError):
            return "multi-user.target" in self.systemctl("list-units", "--state=active", "--plain")
        return False


def seeing_python() -> list[str]:
    """What a unit has to say besides, if it hides Python and the tests from its service."""
    hidden = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/user/")
    places = {sys.prefix, sys.base_prefix, str(ROOT), *filter(os.path.isdir, sys.path)}
    needed = sorted(each for each in places if f"{each}/".startswith(hidden))
    binds = [f"BindReadOnlyPaths=-{each}" for each in needed]
    return ["ProtectHome=tmpfs", *binds] if binds else []


def _removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()
