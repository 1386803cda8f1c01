"""Run a program without what Python has on Linux, and has not on Windows.

elsewhere.py PROGRAM ARGUMENTS...        a file
elsewhere.py -m MODULE ARGUMENTS...      a module, as `python -m` runs it

What is hidden is gone for the standard library, Kombu, py-amqp and miros as well: `socket` is
imported anew, and so makes its socket pairs of TCP connections, as it does on Windows.
"""

from __future__ import annotations

import importlib
import os
import posix
import runpy
import select
import signal
import socket
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

MODULES = (
    *("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "curses", "readline"),
    *("spwd", "crypt", "nis", "ossaudiodev"),
)
OS = """
    CLD_EXITED EFD_CLOEXEC EX_OK F_LOCK O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECTORY O_DSYNC O_NDELAY
    O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC P_ALL RTLD_NOW SCHED_OTHER ST_RDONLY chown
    chroot confstr copy_file_range ctermid eventfd fchdir fchmod fchown fork forkpty fpathconf
    fstatvfs get_blocking getegid geteuid getgid getgroups getloadavg getpgid getpgrp
    getpriority getresgid getresuid getsid getuid initgroups killpg lchown lockf major makedev
    memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise
    posix_fallocate posix_spawn pread preadv pwrite pwritev readv register_at_fork
    sched_getaffinity sched_yield sendfile set_blocking setegid seteuid setgid setgroups setpgid
    setpriority setregid setresuid setreuid setsid setuid splice statvfs sync sysconf tcgetpgrp
    ttyname uname wait wait3 wait4 waitid writev
"""
SOCKET = """
    AF_NETLINK AF_PACKET AF_UNIX AF_VSOCK CMSG_LEN CMSG_SPACE MSG_CMSG_CLOEXEC MSG_CONFIRM
    MSG_DONTWAIT MSG_EOR MSG_MORE MSG_NOSIGNAL SCM_RIGHTS SOCK_CLOEXEC SOCK_NONBLOCK
    SO_BINDTODEVICE SO_DOMAIN SO_PASSCRED SO_PEERCRED SO_PRIORITY SO_PROTOCOL SO_REUSEPORT
    TCP_CONGESTION TCP_CORK TCP_DEFER_ACCEPT TCP_INFO TCP_LINGER2 TCP_QUICKACK TCP_SYNCNT
    TCP_USER_TIMEOUT TCP_WINDOW_CLAMP sethostname socketpair
"""
OF_SOCKETS = ("sendmsg", "sendmsg_afalg", "recvmsg", "recvmsg_into")
SELECT = """
    epoll poll EPOLLIN EPOLLOUT POLLIN POLLOUT POLLERR POLLHUP PIPE_BUF
"""
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
SIGNAL = """
    ITIMER_REAL SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill
    pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
"""


def without_proc(event: str, arguments: tuple[Any, ...]) -> None:
    """Show no /proc to those who open a file of it, or list it."""
    if event in {"open", "os.listdir", "os.scandir"} and str(arguments[0]).startswith("/proc"):
        raise FileNotFoundError(2, "hidden from this program", str(arguments[0]))


def hide() -> None:
    """Take away what Windows has not, from this process alone."""
    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment]
    of_linux = {name for name in dir(signal) if name.startswith("SIG") and name[3:4].isalpha()}
    forget((signal, "_signal"), {*SIGNAL.split(), *of_linux} - SIGNALS)
    forget((select,), SELECT.split())
    forget((socket, "_socket"), SOCKET.split())
    forget((os, posix), OS.split())
    # Made of what is left, where they are imported next.
    for module in ("socket", "selectors", "signal", "subprocess", "ssl", "socketserver", "asyncio"):
        sys.modules.pop(module, None)
    for name in OF_SOCKETS:
        setattr(importlib.import_module("socket").socket, name, Hidden())
    sys.addaudithook(without_proc)


class Hidden:
    """In the place of a method that a class inherits, from which nothing can be deleted."""

    def __get__(self, _: object, kind: type[object]) -> object:
        raise AttributeError(f"{kind.__name__} has none here")


def forget(modules: Iterable[ModuleType | str], names: Iterable[str]) -> None:
    """Delete names from modules that have them."""
    for module in modules:
        place = vars(sys.modules[module] if isinstance(module, str) else module)
        for name in names:
            place.pop(name, None)


if __name__ == "__main__":
    hide()
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
