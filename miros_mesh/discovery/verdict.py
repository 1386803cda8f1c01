"""The verdicts of a scout."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a scout found at an address; few words, fit for a metric label."""

    OURS = "ours"
    """A broker that takes our credentials, with our mesh."""
    NOTHING = "nothing"
    """No answer, or a connection without a word on it, or a name that does not exist."""
    NOT_AMQP = "not_amqp"
    """A server that does not speak AMQP."""
    CERTIFICATE = "certificate"
    """A TLS certificate of no trusted authority, for another host, or not valid now."""
    NO_TLS = "no_tls"
    """A server without TLS, which has got no user and no password."""
    CLIENT_CERTIFICATE = "client_certificate"
    """A broker that refuses our certificate, or misses one."""
    TLS = "tls"
    """A server with which the TLS handshake fails for another reason."""
    CREDENTIALS = "credentials"
    """A broker that refuses our user or password."""
    NO_MESH = "no_mesh"
    """A broker that takes our credentials and has no mesh."""
    OTHER_KEY = "other_key"
    """A broker with a mesh of another key."""
    FULL = "full"
    """A broker that allows us no further connection or channel: its limit, or the user's."""
    FAILED = "failed"
    """The probe itself failed, or did not end in time."""

    def __repr__(self) -> str:
        # As a trace shows it.
        return repr(self.value)
