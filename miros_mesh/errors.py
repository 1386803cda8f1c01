"""Every error of the library: one tree under `MeshError`.

`retryable` is a property of the class: whether the same call may succeed later with the
same settings. Retry policies read nothing else.
"""

from __future__ import annotations

from typing import ClassVar


# As `miros_mesh.text` has it, which this module does not import: it is at the end of every chain of
# imports. `repr` escapes what is not printable.
def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


class MeshError(Exception):
    """The root of every error that miros_mesh raises on purpose."""

    # Read by `link.retry` and the subscriber, too.
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later with the same settings."""

    def __str__(self) -> str:
        # Here for all: many quote what a broker, a peer or a file says, and end up on a terminal.
        return _printable(super().__str__())


class ConfigError(MeshError, ValueError):
    """Settings that cannot work; `problems` names every one of them, a sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        # The tuple and not the text, so that the error survives pickling between processes.
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = "\n".join(f"  - {_printable(problem)}" for problem in self.problems)
        noun = "setting needs" if len(self.problems) == 1 else "settings need"
        return f"{len(self.problems)} {noun} attention:\n{lines}"


# Said by a monitor to who calls it, so without the heading about settings.
class SelectionError(ConfigError):
    """Arguments of a monitor that select nothing: what it is to show can never come."""

    def __str__(self) -> str:
        return "\n".join(map(_printable, self.problems))


class SecretFileError(MeshError, ValueError):
    """A file that shall hold a secret cannot be read, is empty, or can be read by others.

    Its path is in the message in the last case alone: what cannot be opened may be the secret.
    """


# Where Python has an error of its own for the case, ours is one of those as well.
class AddressError(MeshError, ValueError):
    """A broker URL that cannot be understood. The message never holds its password."""


class RoutingKeyError(MeshError, ValueError):
    """A routing key or pattern that AMQP refuses."""


class EncryptionKeyError(MeshError, ValueError):
    """A key that is no Fernet key, or a key ring operation that would lose the last key."""


class IdentityError(MeshError, ValueError):
    """A node's private key, or what says which nodes are allowed, is not what it has to be."""


class SignalError(MeshError, ValueError):
    """A signal that belongs to miros or to this library and must not travel."""


class PayloadError(MeshError, TypeError):
    """A payload that cannot travel; the message names the path to the offending value."""


class EventTooLargeError(MeshError, ValueError):
    """An event whose encoded size exceeds `max_event_bytes`."""


class ChartAddressError(MeshError, ValueError):
    """What is no address of a chart (`node/chart`), or a second destination beside one."""


class TtlError(MeshError, ValueError):
    """A time for which an event is worth handling, or a time-out, that is no number above 0."""


class NoReplyWantedError(MeshError):
    """A reply to an event that wants none: it was not sent by `request`, or came from no one else.

    It is answered by an event like any other: `transmit` with `to`.
    """


class RequestFailedError(MeshError):
    """A request of a client that gets no answer; has its `signal` and its `request_id`."""

    retryable = True
    _why: ClassVar[str] = "got no answer"

    def __init__(self, signal: str, request_id: str = "") -> None:
        super().__init__(signal, request_id)
        self.signal = signal
        self.request_id = request_id

    def __str__(self) -> str:
        named = f"{self.signal} ({self.request_id})" if self.request_id else self.signal
        return _printable(f"request {named} {self._why}")


class RequestTimedOutError(RequestFailedError, TimeoutError):
    """No answer has come in time. Whether the request was handled is not known."""

    _why = (
        "was not answered in time: see whether who handles it is overloaded, has died, or does "
        "not reply to this signal"
    )


class RequestUnroutableError(RequestFailedError):
    """No broker has a queue for the request: who shall handle it does not run."""

    _why = "reached no queue: start what handles it, or see whether its topic or address is right"


class GroupError(MeshError):
    """A group of charts that cannot be; the message names the setting, or how members differ."""


class OldFramesError(MeshError):
    """An event that frames of releases before 0.2 cannot carry, while `old_frames` is `write`."""


class SnoopRecordError(MeshError, ValueError):
    """Fields that are no snoop record; the message names what is missing or wrong."""


class SnoopLogError(MeshError, OSError):
    """A file of snoop records that cannot be read; the message names it."""


class TraceError(MeshError, ValueError):
    """A trace that no sequence diagram can be drawn of; the message says what it lacks."""


# Raised where a frame is opened; `Network.open` counts it and rejects the delivery.
class FrameError(MeshError):
    """A received frame that is refused; `reason` is one of few words, fit for a metric label."""

    reason: ClassVar[str] = "refused"


class UndecryptableFrameError(FrameError):
    """No key of the ring opens the frame."""

    reason = "undecryptable"


class MalformedFrameError(FrameError):
    """The frame opened, but what is inside is not what this version writes."""

    reason = "malformed"


class FrameVersionError(FrameError):
    """The frame is of a version that this library does not read."""

    reason = "version"


class UnsignedError(FrameError):
    """The frame has no signature, and this node hears only nodes that sign."""

    reason = "unsigned"


class UnknownNodeError(FrameError):
    """The frame is signed by a node that is not among the allowed ones."""

    reason = "unknown_node"


class BadSignatureError(FrameError):
    """The frame is not signed by the node that it names."""

    reason = "bad_signature"


class WrongNodeError(FrameError):
    """The frame has messages of another node than the one that signed it."""

    reason = "wrong_node"


class NotPermittedError(FrameError):
    """The node that signed the frame may not send what is in it."""

    reason = "not_permitted"


class WrongNetworkError(FrameError):
    """The frame was sealed for another network."""

    reason = "wrong_network"


class WrongMeshError(FrameError):
    """The frame was sealed under another `mesh_label`."""

    reason = "wrong_mesh"


class WrongTopicError(FrameError):
    """The frame was sealed for another topic than it came under, or than its queue is for."""

    reason = "wrong_topic"


class OldFrameError(FrameError):
    """The frame was sealed before its receiver could get any: an old one that is sent again."""

    reason = "old"


class ClockError(FrameError):
    """The frame was sealed later than now: the clock of its host, or of this one, is wrong."""

    reason = "clock"


class OversizeFrameError(FrameError):
    """The frame is larger than this node accepts."""

    reason = "oversize"


# Most are made of foreign errors, in `link.translation`. `reason` is a label of metrics and log
# lines, so changing one breaks dashboards.
class LinkError(MeshError):
    """A broker could not be used. The message names its address without credentials.

    `reason` is one of few fixed words, fit for a metric label.
    """

    reason: ClassVar[str] = "unknown"


class BrokerUnreachableError(LinkError):
    """No answer comes from the broker's address, or none in time."""

    reason = "unreachable"
    retryable = True


class NotAmqpError(BrokerUnreachableError):
    """What answers at the broker's address does not speak AMQP."""

    reason = "not_amqp"


class ConnectionLostError(LinkError):
    """An established connection broke; the link connects anew by itself."""

    reason = "connection_lost"
    retryable = True


class ConfirmTimeoutError(LinkError):
    """The broker did not confirm a publication within `confirm_timeout_s`."""

    reason = "confirm_timeout"
    retryable = True


class NodeNameTakenError(LinkError):
    """Another live process has the node name; one that was killed may hold it a moment longer."""

    reason = "name_taken"
    # The broker frees the name of a process that was killed after about two heartbeats.
    retryable = True


class CredentialsRefusedError(LinkError):
    """The broker refused the user or the password."""

    reason = "credentials"


class CredentialsFileError(CredentialsRefusedError):
    """The broker refused an earlier user or password: the file of the present one is of no use."""

    reason = "credentials_file"


class CertificateUserError(CredentialsRefusedError):
    """The broker has no user of the name that the certificate of this node says."""

    reason = "certificate_user"


class LoginMethodError(CredentialsRefusedError):
    """The broker does not offer the login that the settings ask for: by password or certificate."""

    reason = "login_method"


class VirtualHostError(LinkError):
    """The virtual host does not exist, or the user may not enter it."""

    reason = "virtual_host"


class NoMeshError(LinkError):
    """The broker takes our credentials, and no node of a mesh has been there."""

    reason = "no_mesh"
    # A node may come there at any time.
    retryable = True


class OtherKeyError(LinkError):
    """The mesh at the broker has none of our keys."""

    reason = "other_key"


class BrokerConflictError(LinkError):
    """The broker holds an exchange or a queue of our name, declared with other arguments."""

    reason = "conflict"


class TermsError(LinkError):
    """Others who consume the queue, as those of a group do, have agreed on other terms."""

    reason = "other_terms"

    def __init__(self, message: str, wanted: str = "", present: str = "") -> None:
        super().__init__(message)
        self.wanted = wanted
        """The terms of this node."""
        self.present = present
        """Those of the others; empty where the broker does not say them."""


class GoneError(LinkError):
    """An exchange or a queue of ours is not at the broker, or is out of its reach for now."""

    reason = "gone"
    # Declared again by the link.
    retryable = True


class ChannelLimitError(LinkError):
    """The broker allows no further channel on this connection, or to this user."""

    # Not retryable: the queues that the node has keep their channels.
    reason = "channel_limit"


class ConnectionLimitError(LinkError):
    """The broker allows this user or virtual host no further connection (`max-connections`)."""

    reason = "connection_limit"


class QueueLimitError(LinkError):
    """The broker allows this virtual host no further queue (`max-queues`)."""

    reason = "queue_limit"


class MessageTooLargeError(LinkError):
    """A frame is larger than what the broker takes (`max_message_size`)."""

    reason = "message_size"


class ConsumerTimeoutError(LinkError):
    """The broker waited longer than its `consumer_timeout` for an acknowledgement."""

    reason = "consumer_timeout"
    # The events come again on the next channel.
    retryable = True


class UnroutableError(LinkError):
    """No queue takes what was published; the broker has not kept it."""

    reason = "unroutable"


class LettersInUseError(LinkError):
    """Another program reads the dead letters, which the embedded broker shows to one at a time."""

    reason = "in_use"
    retryable = True


class BrokerRefusedError(LinkError):
    """The broker refused something for a reason of its own, which the message quotes."""

    reason = "refused"


class PermissionDeniedError(LinkError):
    """The user may not configure, write or read what the mesh needs."""

    reason = "permission"


# None of these is retryable: a start ends with it. A node at work tries again after each, since a
# file or a certificate may be renewed meanwhile.
class TlsError(LinkError):
    """The TLS handshake failed for another reason than those below."""

    reason = "tls"


class NoTlsError(TlsError):
    """What answers at the broker's address speaks no TLS, and is told nothing without it."""

    reason = "no_tls"


class TlsFileError(TlsError):
    """A file of ours for TLS cannot be read or used; the message names the setting and the file."""

    reason = "tls_file"


class CertificateError(TlsError):
    """The broker's certificate is refused here, for another reason than those below."""

    reason = "certificate"


class UnknownAuthorityError(CertificateError):
    """No authority that is trusted here has signed the broker's certificate."""

    reason = "unknown_authority"


class WrongHostError(CertificateError):
    """The broker's certificate is for another host than the one that was asked for."""

    reason = "wrong_host"


class CertificateExpiredError(CertificateError):
    """The broker's certificate, or that of its authority, is not valid any more."""

    reason = "certificate_expired"


class CertificateNotYetValidError(CertificateError):
    """The broker's certificate, or that of its authority, is valid only later."""

    reason = "certificate_not_yet_valid"


class ClientCertificateError(TlsError):
    """The broker refuses the certificate that this node shows."""

    reason = "client_certificate"


class ClientCertificateMissingError(ClientCertificateError):
    """The broker wants a certificate, and this node shows none."""

    reason = "client_certificate_missing"


class EmbeddedStoreError(LinkError):
    """The folder of the embedded broker cannot be used."""

    reason = "store"


class UnfitFileSystemError(EmbeddedStoreError):
    """The embedded broker's `folder` is on a file system that processes cannot share it on."""

    reason = "file_system"

    def __init__(self, folder: object, file_system: str | None = None, why: str = "unfit") -> None:
        super().__init__(str(folder))
        self.folder = str(folder)
        self.file_system = file_system
        self._why = why

    def __str__(self) -> str:
        return _printable(
            f"{self.folder} is on a file system ({self.file_system or 'of unknown type'}) that is "
            f"unfit for the embedded broker: {self._why}; name a folder on a local disk of this "
            "machine with home= or MIROS_MESH_HOME, or use a RabbitMQ"
        )


class StoreUnavailableError(EmbeddedStoreError):
    """The embedded broker's files cannot be written for now: another process keeps a lock, say."""

    reason = "store_unavailable"
    # The events wait in the outbox.
    retryable = True


class DiskFullError(StoreUnavailableError):
    """No room is left for the embedded broker; `path` is what could not be written."""

    reason = "disk_full"

    def __init__(self, path: object) -> None:
        super().__init__(str(path))
        self.path = str(path)

    def __str__(self) -> str:
        return _printable(
            f"{self.path} cannot be written: its disk is full, or the quota of this user is used "
            "up; make room there, or name a folder on another disk with MIROS_MESH_HOME"
        )


# Faults of the program's order of calls.
class LifecycleError(MeshError, RuntimeError):
    """A call that is not possible at this moment of a chart's or a node's life."""


class NotStartedError(LifecycleError):
    """`transmit` or `snoop_scribble` before `start_at`."""


class AlreadyStartedError(LifecycleError):
    """`start_at` on a chart that was started before."""


class StoppedError(LifecycleError):
    """A call on a chart or a node that has stopped; make a new one."""


class ForkedError(LifecycleError):
    """A chart of the parent process is used in a child that was forked from it."""


class TimerLimitError(LifecycleError):
    """A chart has as many running timers as miros allows; the message names their signals."""


class ChartNameTakenError(LifecycleError):
    """A live chart of the same node already has this name."""


class StreamInUseError(LifecycleError):
    """Two read one stream of events of a client at once; each needs a stream of its own."""


class WrongLoopError(LifecycleError):
    """An `AsyncMeshClient` is used on another event loop than the one that has started it."""


class MetricNamesTakenError(MeshError, ValueError):
    """A metric of one of our names is in the registry already."""


class LogFileError(MeshError, OSError):
    """The file that log lines shall go to cannot be opened; the message has its path."""


class ListenError(MeshError):
    """The metrics server cannot listen at the address that it was given."""


class PortInUseError(ListenError):
    """Another socket listens on the port already."""


class UnsupportedError(MeshError):
    """A part of the library needs what this system has not; the message says what else works."""


class MissingExtraError(MeshError, ImportError):
    """A part of the library needs a package that is optional; the message has the command."""


class UnknownLetterError(MeshError, LookupError):
    """No dead letter has this id, or several begin with it; the message says which."""


class SealedLetterError(MeshError):
    """No key of these settings opens a dead letter, or the frame in it."""


class EmptyLetterError(MeshError):
    """A dead letter has no event: it is a note of what was too large, or of what did not open."""


class UnknownChartError(MeshError, LookupError):
    """A monitor is asked for a chart of which no record has come."""
