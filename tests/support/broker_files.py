"""The files of `deploy/rabbitmq`, for brokers of a test."""

from __future__ import annotations

import json
import re

from support.doc_pages import ROOT
from support.tls import Files

FOLDER = ROOT / "deploy" / "rabbitmq"
BLANK = re.compile(r"\b(NODE|HEARS|GROUP|USER|HOST|SITE|OTHER)\b")


def definitions(name: str, vhost: str = "mesh", **blanks: str) -> str:
    """A file of definitions for a virtual host, with every blank filled in: `node="press"`."""
    text = (FOLDER / name).read_text()
    text = text.replace('"mesh"', json.dumps(vhost)).replace("/mesh?", f"/{vhost}?")
    return BLANK.sub(lambda blank: blanks[blank[0].lower()], text)


def configuration(*names: str, tls: Files, door: str = "5671") -> str:
    """Files of configuration in one, with these certificates, for a server that tests reach.

    Its door with TLS is at a port, or at an address and a port. That without stays open, and the
    disk may be small.
    """
    text = placed("".join((FOLDER / name).read_text() for name in names), tls)
    text = re.sub(r"^(listeners.tcp|disk_free_limit.absolute) =.*\n", "", text, flags=re.MULTILINE)
    return text.replace("listeners.ssl.default = 5671", f"listeners.ssl.default = {door}")


def placed(text: str, tls: Files, owner: str = "host") -> str:
    """What a file says, with the certificate and the key of a host or a site in these files."""
    folder = "/etc/rabbitmq/tls"
    for name, file in zip(("ca.pem", f"{owner}.pem", f"{owner}.key"), tls, strict=True):
        text = text.replace(f"{folder}/{name}", str(file))
    return text
