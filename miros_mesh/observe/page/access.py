"""Who may ask the page's server, and what a browser may do with its answers."""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from wsgiref.types import WSGIEnvironment

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes markup, whatever a script of the page would try.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy of every answer: all comes from the page's own server."""
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ("Cache-Control", "no-store"),
)
LEAST_TOKEN: Final = 16
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


class Access:
    """Lets in who has the token. It travels in a header, which no other site can have sent."""

    def __init__(self, token: str, *, loopback: bool) -> None:
        self._expected = f"Bearer {token}".encode()
        self._loopback = loopback

    def admits(self, environ: WSGIEnvironment) -> bool:
        """Whether the request has the token; takes as long for a wrong one as for the right one."""
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
        return hmac.compare_digest(given, self._expected)

    def knows_host(self, environ: WSGIEnvironment) -> bool:
        """Whether it was asked by a name of its own, where it listens at loopback alone.

        Another one is that of a site which has its name lead here.
        """
        host = environ.get("HTTP_HOST", "")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        return not self._loopback or name in _LOOPBACK
