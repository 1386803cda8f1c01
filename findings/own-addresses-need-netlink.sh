#!/usr/bin/env bash
# netifaces-plus 0.12.4 and psutil 7.2.2 on Linux: a process that may open sockets of AF_INET, AF_INET6
# and AF_UNIX alone, as hardened systemd units have it (RestrictAddressFamilies=), looks up names and
# connects as ever, and cannot list the interfaces and addresses of its own host: glibc asks the kernel
# for them by netlink. All ways fail with EAFNOSUPPORT, "Address family not supported by protocol",
# which names no family. With AF_NETLINK in the list they work.
#
# Needs libseccomp2 (systemd and apt of Debian bring it) for the filter that systemd would set. Runs in
# a temporary folder, sends nothing, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    netifaces-plus==0.12.4 psutil==7.2.2 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import ctypes
import errno
import socket

import netifaces
import psutil

ALLOW, REFUSE, EQUAL = 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT, 4


class Compared(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("with", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    ]


def keep_from_netlink():
    """Do what systemd does for RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ALLOW)))
    call = seccomp.seccomp_syscall_resolve_name(b"socket")
    family = Compared(0, EQUAL, socket.AF_NETLINK, 0)
    assert not seccomp.seccomp_rule_add_array(
        rules, ctypes.c_uint32(REFUSE), call, ctypes.c_uint(1), ctypes.byref(family)
    )
    assert not seccomp.seccomp_load(rules)


def told(name, ask):
    try:
        print(f"{name}: {'found' if ask() else 'empty'}")
    except OSError as error:
        print(f"{name}: {errno.errorcode[error.errno]}")


for keep in (lambda: None, keep_from_netlink):
    keep()
    told("socket.getaddrinfo", lambda: socket.getaddrinfo("localhost", 80))
    told("socket.if_nameindex", socket.if_nameindex)
    told("netifaces.interfaces", netifaces.interfaces)
    told("psutil.net_if_addrs", psutil.net_if_addrs)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
socket.getaddrinfo: found
socket.if_nameindex: found
netifaces.interfaces: found
psutil.net_if_addrs: found
socket.getaddrinfo: found
socket.if_nameindex: EAFNOSUPPORT
netifaces.interfaces: EAFNOSUPPORT
psutil.net_if_addrs: EAFNOSUPPORT
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
