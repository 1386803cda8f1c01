"""A package that a machine of a test does not have, and may get by apt: from its own files."""

from __future__ import annotations

from support.doc_pages import ROOT
from support.machine import Machine

PACKAGE = "rabbitmq-server"
DEBS = ROOT / ".build" / "debs"
NO_DEBS = "needs the package of RabbitMQ in .build/debs: `make proof` on Debian fetches it"
LIMIT_S = 120.0
# Services may start here, unlike on the machine that the tests run on.
_SET_UP = """
exec 2>&1
rm -f /usr/sbin/policy-rc.d
dpkg --purge "$1"
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists/*
mkdir -p /var/packages
cp "$2"/*.deb /var/packages
cd /var/packages
for each in *.deb; do
    dpkg-deb --field "$each"
    printf 'Filename: ./%s\\nSize: %s\\n' "$each" "$(stat --format=%s "$each")"
    printf 'SHA256: %s\\n\\n' "$(sha256sum "$each" | cut -d ' ' -f 1)"
done > Packages
echo "deb [trusted=yes] file:/var/packages ./" > /etc/apt/sources.list
"""


def why_not() -> str | None:
    """Why a machine could not get it; None when it could."""
    return None if list(DEBS.glob(f"{PACKAGE}_*.deb")) else NO_DEBS


def offer(machine: Machine) -> None:
    """Take RabbitMQ and all of its files from a machine, and leave the package for its apt."""
    machine.run("sh", "-euc", _SET_UP, "sh", PACKAGE, str(DEBS), limit_s=LIMIT_S)
