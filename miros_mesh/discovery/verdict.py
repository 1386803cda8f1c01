"""What a look at an address may find."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a scout found at an address; few words, fit for a metric label."""

    OURS = "ours"
    """A broker that takes our credentials, with our mesh."""
    NOTHING = "nothing"
    """Nobody answers, or one takes the connection and stays silent, or the name does not exist."""
    NOT_AMQP = "not_amqp"
    """Somebody answers and does not speak AMQP."""
    CERTIFICATE = "certificate"
    """Somebody whose TLS certificate nobody vouches for, or is for another host."""
    NO_TLS = "no_tls"
    """Somebody answers, and the TLS handshake fails for another reason."""
    CREDENTIALS = "credentials"
    """A broker that refuses our user or password."""
    NO_MESH = "no_mesh"
    """A broker that takes our credentials and has no mesh."""
    OTHER_KEY = "other_key"
    """A broker with a mesh of another key."""
    FAILED = "failed"
    """The probe itself failed, or did not end in time."""

    def __repr__(self) -> str:
        # As a trace shows it.
        return repr(self.value)
