"""What a broker means when it says no: its code and its text as one of our errors.

A code of AMQP stands for many things: RabbitMQ's 406 is a queue that is declared in another way, a
message too large, an acknowledgement too late, one queue too many. So the texts decide, those of
RabbitMQ 3.10 to 4.x; a text that is not known here is quoted, and nothing is advised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from miros_mesh.errors import (
    BrokerConflictError,
    BrokerRefusedError,
    CertificateUserError,
    ChannelLimitError,
    ConnectionLimitError,
    ConnectionLostError,
    ConsumerTimeoutError,
    CredentialsRefusedError,
    GoneError,
    LinkError,
    MessageTooLargeError,
    PermissionDeniedError,
    QueueLimitError,
    VirtualHostError,
)


class _Meaning(NamedTuple):
    code: int
    text: str
    """How the text begins behind the code's name; a regular expression."""
    kind: type[LinkError]
    words: str
    """What is said, with `{where}` and `{said}`."""


_ANYTHING: Final = ""
# `PRECONDITION_FAILED - `: RabbitMQ says the code's name first. Names that a user chose come later
# in a text, so that a pattern that is held to the beginning cannot be fooled by one.
_CODE_NAME: Final = re.compile(r"[A-Z_]+ - ")

_CLOSED: Final = "{where} closed the connection ({said})"
_FAULT: Final = "{where} closed the connection over a fault of its own ({said})"
_REFUSED: Final = "{where} refused: {said}"

# In both tables the first row that fits counts.
_CONNECTING: Final[Sequence[_Meaning]] = (
    _Meaning(320, _ANYTHING, ConnectionLostError, _CLOSED),
    _Meaning(
        403,
        r"Login was refused using authentication mechanism EXTERNAL",
        CertificateUserError,
        "{where} has no user of the name in our certificate (broker_cert_file): make one with: "
        "rabbitmqctl add_user; which part is the name says ssl_cert_login_from in rabbitmq.conf",
    ),
    _Meaning(
        403,
        _ANYTHING,
        CredentialsRefusedError,
        "{where} refused the user or the password; check them in your settings, and on the broker "
        "with: rabbitmqctl authenticate_user USER PASSWORD",
    ),
    _Meaning(
        530,
        r"access to vhost '.*' refused for user '.*': (vhost )?connection limit",
        ConnectionLimitError,
        "{where}: the virtual host is full ({said}); raise its max-connections with: rabbitmqctl "
        "set_vhost_limits, or run more charts in fewer processes",
    ),
    _Meaning(
        530,
        r"connection refused for user '.*': user connection limit",
        ConnectionLimitError,
        "{where}: the user has as many connections as it may ({said}); raise its max-connections "
        "with: rabbitmqctl set_user_limits, or run more charts in fewer processes",
    ),
    _Meaning(
        530,
        r"connection refused: node connection limit",
        ConnectionLimitError,
        "{where}: the broker is full ({said}); raise connection_max in rabbitmq.conf, or name "
        "another broker",
    ),
    _Meaning(
        530,
        r"vhost .* not found|access to vhost '",
        VirtualHostError,
        "{where}: the virtual host does not exist or the user may not enter it ({said}); see: "
        "rabbitmqctl list_vhosts, rabbitmqctl set_permissions",
    ),
    # A virtual host that is down, say, which its broker starts again.
    _Meaning(541, _ANYTHING, ConnectionLostError, _FAULT),
)

_CONNECTED: Final[Sequence[_Meaning]] = (
    # Other brokers than RabbitMQ, which says 406.
    _Meaning(
        311,
        _ANYTHING,
        MessageTooLargeError,
        "{where} takes no message of that size ({said}); lower max_event_bytes, or raise the "
        "broker's limit",
    ),
    _Meaning(320, _ANYTHING, ConnectionLostError, _CLOSED),
    _Meaning(
        403,
        r"queue '.*' in exclusive use",
        BrokerConflictError,
        "{where}: another program consumes a queue of our name and shares it with no other "
        "({said}); end it, or give this mesh a virtual host of its own",
    ),
    # From 3.11 on with a word more: "write access to".
    _Meaning(
        403,
        r"(\w+ )?access to topic '",
        PermissionDeniedError,
        "{where}: the user may not use this routing key ({said}); see: rabbitmqctl "
        "set_topic_permissions",
    ),
    _Meaning(
        403,
        r"(\w+ )?access to (exchange|queue) '",
        PermissionDeniedError,
        "{where}: the user lacks a permission ({said}); the mesh needs to configure, write and "
        "read names that begin with miros_mesh. (with ancestors, miros. too), or those of a role "
        "of docs/hardening.md",
    ),
    _Meaning(404, _ANYTHING, GoneError, "{where}: {said}; it is looked for and declared again"),
    _Meaning(
        405,
        _ANYTHING,
        BrokerConflictError,
        "{where}: another connection holds a queue of our name ({said}); end it, or give this mesh "
        "a virtual host of its own",
    ),
    _Meaning(
        406,
        r"inequivalent arg ",
        BrokerConflictError,
        "{where} holds something of our name declared in another way ({said}); delete it, or give "
        "this mesh a virtual host of its own; what waits in a queue is lost with it",
    ),
    _Meaning(
        406,
        r"message size ",
        MessageTooLargeError,
        "{where} takes no message of that size ({said}); lower max_event_bytes, or raise "
        "max_message_size in rabbitmq.conf",
    ),
    # 3.8.15 and older, 3.10, and its longer form.
    _Meaning(
        406,
        r"consumer ack timed out|delivery acknowledgement on channel|Consumer .* has timed out",
        ConsumerTimeoutError,
        "{where} waited too long for an acknowledgement ({said}); what was not acknowledged comes "
        "again. Let handlers take less time, or raise consumer_timeout in rabbitmq.conf",
    ),
    # 4.1 has a limit of the whole cluster as well.
    _Meaning(
        406,
        r"cannot declare queue '",
        QueueLimitError,
        "{where} allows no further queue ({said}); delete some, or raise max-queues with: "
        "rabbitmqctl set_vhost_limits",
    ),
    _Meaning(
        406,
        r"unknown delivery tag ",
        ConnectionLostError,
        "{where} closed a channel ({said}); what was not acknowledged comes again",
    ),
    # py-amqp's own words when all numbers up to the broker's channel_max are in use.
    _Meaning(
        506,
        r"No free channel ids",
        ChannelLimitError,
        "{where} allows fewer channels on one connection than a node needs, which are two: raise "
        "channel_max in rabbitmq.conf",
    ),
    _Meaning(
        530,
        r"number of channels opened for user '",
        ChannelLimitError,
        "{where}: the user has as many channels as it may ({said}); raise its max-channels with: "
        "rabbitmqctl set_user_limits, or give each node a user of its own",
    ),
    _Meaning(
        530,
        r"number of channels opened ",
        ChannelLimitError,
        "{where} allows no more channels ({said}); run some of the charts elsewhere, or raise "
        "channel_max or channel_max_per_node in rabbitmq.conf",
    ),
    # A kind of queue that a newer RabbitMQ has given up; every other 541 is a crash.
    _Meaning(541, r"Feature `", BrokerRefusedError, _REFUSED),
    _Meaning(541, _ANYTHING, ConnectionLostError, _FAULT),
)

# What a new connection may put right is no refusal: words out of order, a frame that is broken.
_OUT_OF_STEP: Final = frozenset((501, 502, 503, 504, 505))


class TlsSpokenError(ValueError):
    """The first words of the other side are TLS, where none was asked for."""


def refusal(where: str, code: int, said: str, *, connecting: bool) -> LinkError | None:
    """Return the error that a broker's reply stands for; None when it is no refusal."""
    name = _CODE_NAME.match(said)
    begin = name.end() if name else 0
    for meaning in _CONNECTING if connecting else _CONNECTED:
        if meaning.code == code and re.compile(meaning.text, re.DOTALL).match(said, begin):
            return meaning.kind(meaning.words.format(where=where, said=said))
    if code == 0 or (code in _OUT_OF_STEP and not connecting):
        return None
    return BrokerRefusedError(_REFUSED.format(where=where, said=said))
