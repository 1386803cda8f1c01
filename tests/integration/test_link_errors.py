"""Brokers that cannot be used: each fault its own error, in time, and no password in it."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import amqp
import kombu
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import (
    BrokerConflictError,
    BrokerUnreachableError,
    ChannelLimitError,
    ConnectionLostError,
    CredentialsRefusedError,
    LinkError,
    NotAmqpError,
    NoTlsError,
    PermissionDeniedError,
    UnknownAuthorityError,
    VirtualHostError,
)
from miros_mesh.link.connections import CONNECTIONS_PER_ADDRESS
from miros_mesh.link.kombu_link import KombuLink, amqp_link
from miros_mesh.link.ports import Binding, Broker, Delivery
from miros_mesh.link.rabbitmq.queues import LETTERS
from miros_mesh.link.translation import translated
from support.post_office import (
    EXCHANGE,
    LIMIT_S,
    SETTINGS,
    Letter,
    Mailbox,
    Notebook,
    PostOffice,
    keeping,
    letter,
    queue,
)
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.waiting import wait_until

GUEST = "guest-of-a-test"
PASSWORD = "S3cret-%-pass"
CONNECT_TIMEOUT_S = 0.5
# A refusal by RabbitMQ may take a moment more than a time-out of ours.
ANSWER_LIMIT_S = 3.0
REFUSALS_LIMIT_S = 20.0

Use = Callable[[KombuLink, Broker], None]


def at(url: str, **changes: str) -> Broker:
    address = replace(BrokerAddress.parse(url), **changes)
    return Broker(address.redacted, (address,))


def address_of(port: int, scheme: str = "amqp") -> BrokerAddress:
    return BrokerAddress(scheme, HOST, port, user="peter", password=PASSWORD)


def at_port(port: int, scheme: str = "amqp") -> Broker:
    address = address_of(port, scheme)
    return Broker(address.redacted, (address,))


@pytest.fixture
def link() -> Iterator[KombuLink]:
    made = amqp_link(replace(SETTINGS, connect_timeout_s=CONNECT_TIMEOUT_S, attempts=2))
    yield made
    made.close()


def probe(link: KombuLink, broker: Broker) -> None:
    link.probe(broker)


def publish(link: KombuLink, broker: Broker) -> None:
    publisher = link.publisher(broker)
    publisher.start()
    try:
        publisher.wait_ready(LIMIT_S)
    finally:
        publisher.stop(LIMIT_S)


def subscribe(link: KombuLink, broker: Broker) -> None:
    subscriber = link.subscriber(broker)
    subscriber.start()
    try:
        subscriber.wait_ready(LIMIT_S)
        subscriber.add(queue(), Mailbox(), LIMIT_S)
    finally:
        subscriber.stop(LIMIT_S)


every_use = pytest.mark.parametrize("use", [probe, publish, subscribe])
every_worker = pytest.mark.parametrize("use", [publish, subscribe])


def refused(error: type[LinkError], use: Use, link: KombuLink, broker: Broker) -> str:
    """What a use of a broker is refused with."""
    started = time.monotonic()
    with pytest.raises(LinkError) as raised:
        use(link, broker)
    assert time.monotonic() - started < ANSWER_LIMIT_S
    assert type(raised.value) is error
    for address in broker.addresses:
        assert address.password not in str(raised.value)
    return str(raised.value)


def reject(delivery: Delivery) -> None:
    delivery.reject()


# Nobody there, or somebody else


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that somebody listens on; every connection is answered, and then held open."""
    with ExitStack() as held, socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection = held.enter_context(listener.accept()[0])
                except OSError:
                    return
                answer(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join(LIMIT_S)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def answering(words: bytes) -> Callable[[socket.socket], None]:
    """Say something once the other side has spoken."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1_024)
        connection.sendall(words)

    return answer


@every_use
def test_down(use: Use, link: KombuLink) -> None:
    """Nobody listens at the port."""
    (port,) = free_ports(1)

    message = refused(BrokerUnreachableError, use, link, at_port(port))

    assert f"peter@{HOST}:{port}" in message
    assert "does the broker run, and is the port right?" in message


@every_use
def test_black_hole(use: Use, link: KombuLink) -> None:
    """The connection is accepted, and then nothing is ever said."""
    with server(lambda _: None) as port:
        message = refused(BrokerUnreachableError, use, link, at_port(port))

    assert "timed out" in message


def test_black_hole_with_tls(link: KombuLink) -> None:
    """The same before the TLS handshake."""
    with server(lambda _: None) as port:
        message = refused(BrokerUnreachableError, probe, link, at_port(port, "amqps"))

    assert "timed out" in message


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(b"AMQP\x00\x01\x00\x00", id="another AMQP"),
        pytest.param(frame(1, 0, b""), id="empty method"),
        pytest.param(frame(1, 0, b"\x00\x0a\x00\x0a"), id="truncated method"),
        pytest.param(frame(1, 7, b"\x00\x0a\x00\x0a"), id="unknown channel"),
        pytest.param(frame(9, 0, b"x"), id="unknown frame"),
    ],
)
def test_no_amqp(link: KombuLink, rubbish: bytes) -> None:
    """Another program listens there, and says what no broker says."""
    with server(answering(rubbish)) as port:
        message = refused(NotAmqpError, probe, link, at_port(port))

    assert "is the port right?" in message


def test_hung_up(link: KombuLink) -> None:
    """The connection is accepted and closed at once."""
    with server(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as port:
        message = refused(BrokerUnreachableError, probe, link, at_port(port))

    # So do some servers for TLS
    assert "is the port right, or does it want TLS (amqps://)?" in message


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        pytest.param(b"", BrokerUnreachableError, "or does it want TLS (amqps://)?", id="hung up"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", NotAmqpError, "does not speak AMQP", id="ssh"),
    ],
)
def test_the_other_side_is_faster_than_we_set_up_the_socket(
    link: KombuLink,
    monkeypatch: pytest.MonkeyPatch,
    words: bytes,
    error: type[LinkError],
    told: str,
) -> None:
    """It hangs up, or speaks first: no option of the socket is refused for that."""
    connect = socket.socket.connect

    def connect_and_hear(made: socket.socket, address: tuple[str, int]) -> None:
        connect(made, address)
        assert made.recv(len(words) or 1, socket.MSG_PEEK | socket.MSG_WAITALL) == words

    def answer(connection: socket.socket) -> None:
        connection.sendall(words)
        if not words:
            connection.shutdown(socket.SHUT_RDWR)

    monkeypatch.setattr(socket.socket, "connect", connect_and_hear)
    with server(answer) as port:
        message = refused(error, probe, link, at_port(port))

    assert told in message


def test_no_such_host() -> None:
    """The resolver does not know the name. Asking a real one would leave this machine."""
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with (
        pytest.raises(BrokerUnreachableError, match="amqp://h//: no such host name"),
        translated("amqp://h//", connecting=True),
    ):
        raise unknown


# TLS


def test_tls_at_a_port_without_tls(link: KombuLink) -> None:
    """The broker's plain port answers a TLS handshake with its own greeting."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1_024)
        connection.sendall(b"AMQP\x00\x00\x09\x01")

    with server(answer) as port:
        message = refused(NoTlsError, probe, link, at_port(port, "amqps"))

    assert "speaks no TLS" in message
    assert "mostly 5671" in message


@every_use
def test_tls_at_the_plain_port_of_a_broker(use: Use, link: KombuLink, vhost_url: str) -> None:
    message = refused(NoTlsError, use, link, at(vhost_url, scheme="amqps"))

    assert "speaks no TLS" in message
    assert "or amqp://" in message


@every_use
def test_no_tls_at_a_port_with_tls(use: Use, link: KombuLink) -> None:
    # As a RabbitMQ answers at its port for TLS, with an alert
    with server(answering(b"\x15\x03\x01\x00\x02\x02\x0a")) as port:
        message = refused(NotAmqpError, use, link, at_port(port))

    assert "speaks TLS; write amqps://" in message


def test_a_certificate_that_nobody_vouches_for(link: KombuLink, tmp_path: Path) -> None:
    """A stranger with a certificate of his own pretends to be the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))

    def answer(connection: socket.socket) -> None:
        connection.settimeout(LIMIT_S)
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection.dup(), server_side=True)

    with server(answer) as port:
        message = refused(UnknownAuthorityError, probe, link, at_port(port, "amqps"))

    assert "CERTIFICATE_VERIFY_FAILED" in message
    assert "SSL_CERT_FILE" in message


def self_signed(folder: Path) -> Path:
    """A key and a certificate for this host, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
    certificate = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "broker.pem"
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


# A broker that does not let us in


@pytest.fixture
def guest_url(rabbitmq: RabbitServer, vhost: str) -> Iterator[str]:
    """The virtual host of this test, for a user without any permission."""
    rabbitmq.add_user(GUEST, PASSWORD)
    yield rabbitmq.url(vhost, GUEST, PASSWORD)
    rabbitmq.delete_user(GUEST)


@pytest.fixture
def guest(guest_url: str) -> Broker:
    return at(guest_url)


def allow(rabbitmq: RabbitServer, vhost: str, configure: str, write: str, read: str) -> None:
    rabbitmq.set_permissions(GUEST, vhost, configure, write, read)


@every_use
def test_wrong_password(use: Use, link: KombuLink, vhost_url: str) -> None:
    message = refused(CredentialsRefusedError, use, link, at(vhost_url, password=PASSWORD))

    assert "rabbitmqctl authenticate_user" in message


def test_unknown_user(link: KombuLink, vhost_url: str) -> None:
    message = refused(
        CredentialsRefusedError, probe, link, at(vhost_url, user="nobody", password=PASSWORD)
    )

    assert "nobody@" in message


@every_use
def test_missing_virtual_host(use: Use, link: KombuLink, guest_url: str) -> None:
    message = refused(VirtualHostError, use, link, at(guest_url, virtual_host="no such"))

    assert "rabbitmqctl list_vhosts" in message
    assert "no such" in message


def test_a_virtual_host_that_the_user_may_not_enter(link: KombuLink, guest: Broker) -> None:
    message = refused(VirtualHostError, probe, link, guest)

    assert "rabbitmqctl set_permissions" in message


@every_worker
def test_permission_to_declare_is_denied(
    use: Use, link: KombuLink, guest: Broker, rabbitmq: RabbitServer, vhost: str
) -> None:
    allow(rabbitmq, vhost, configure="^other", write=".*", read=".*")

    message = refused(PermissionDeniedError, use, link, guest)

    assert "names that begin with miros_mesh." in message


def test_permission_to_read_is_denied(
    link: KombuLink, guest: Broker, rabbitmq: RabbitServer, vhost: str
) -> None:
    allow(rabbitmq, vhost, configure=".*", write=".*", read="^other")

    message = refused(PermissionDeniedError, subscribe, link, guest)

    assert "names that begin with miros_mesh." in message


def test_permission_to_write_that_is_given_later_needs_no_new_connection(
    guest: Broker, rabbitmq: RabbitServer, vhost: str, vhost_url: str
) -> None:
    # Given a listener, and a publisher that may do anything but write
    listening, writing = PostOffice(amqp_link, at(vhost_url)), PostOffice(amqp_link, guest)
    allow(rabbitmq, vhost, configure=".*", write="^other", read=".*")
    _, mailbox = listening.listen(queue())
    notes = Notebook()
    publisher = writing.publisher(observer=notes)

    # When it publishes
    refused = letter("refused")
    publisher.put(refused)

    # Then it says what is missing, and goes on when somebody has given it
    wait_until(lambda: refused.refusals)
    [(_, error)] = refused.refusals
    assert isinstance(error, PermissionDeniedError)
    assert "the user lacks a permission" in str(error)
    assert PASSWORD not in str(error)
    allow(rabbitmq, vhost, configure=".*", write=".*", read=".*")

    def heard() -> bool:
        publisher.put(letter("heard"))
        return bool(mailbox.deliveries)

    wait_until(heard)
    assert set(mailbox.texts) == {"heard"}
    assert (notes.ups, notes.downs) == (1, [])
    writing.close()
    listening.close()


def test_the_documented_permissions_are_enough(
    guest: Broker, rabbitmq: RabbitServer, vhost: str
) -> None:
    ours = r"^miros_mesh\."
    allow(rabbitmq, vhost, configure=ours, write=ours, read=ours)
    office = PostOffice(amqp_link, guest)
    subscriber, mailbox = office.subscriber("miros_mesh.v1.name.guest"), Mailbox()
    subscriber.add(queue(dead_letters=True, delete_on_stop=False), mailbox, LIMIT_S)
    publisher = office.publisher(exchanges=(EXCHANGE, LETTERS))

    publisher.put(letter("heard"))
    publisher.put(Letter(b"set aside", exchange=LETTERS))

    assert mailbox.expect(1) == ["heard"]
    wait_until(lambda: office.size(LETTERS) == 1)
    office.close()


# Something of our name that is not ours


def _declare_fanout(url: str, exchange: str = EXCHANGE) -> None:
    with kombu.Connection(url) as connection:
        kombu.Exchange(exchange, type="fanout")(connection.channel()).declare()


@every_worker
def test_an_exchange_of_our_name_and_another_type(
    use: Use, link: KombuLink, guest: Broker, rabbitmq: RabbitServer, vhost: str
) -> None:
    allow(rabbitmq, vhost, configure=".*", write=".*", read=".*")
    _declare_fanout(rabbitmq.url(vhost))

    message = refused(BrokerConflictError, use, link, guest)

    assert EXCHANGE in message
    assert "delete it, or give this mesh a virtual host of its own" in message


def test_a_conflicting_queue_leaves_the_other_queues_alone(link: KombuLink, vhost_url: str) -> None:
    # Given a queue of our name with other arguments, and a subscriber at work
    office, broker = PostOffice(amqp_link, at(vhost_url)), at(vhost_url)
    office.listen(queue("lasting", delete_on_stop=False))[0].stop(LIMIT_S)
    notes = Notebook()
    subscriber, mailbox = office.subscriber(observer=notes), Mailbox()
    subscriber.add(queue("good"), mailbox, LIMIT_S)

    # When that queue is asked for
    with pytest.raises(BrokerConflictError, match=r"miros_mesh\.v1\.lasting"):
        subscriber.add(queue("lasting", expires_s=1.0), Mailbox(), LIMIT_S)

    # Then the subscriber works on as before
    office.publisher().put(letter("heard"))
    assert mailbox.expect(1) == ["heard"]
    assert notes.subscriptions == 1
    office.close()
    link.probe(broker)


def test_a_queue_that_is_refused_again_and_again_leaves_no_channels(vhost_url: str) -> None:
    office = PostOffice(amqp_link, at(vhost_url))
    office.listen(queue("lasting", delete_on_stop=False))[0].stop(LIMIT_S)
    subscriber = office.subscriber()
    channels: list[int] = []

    for _ in range(5):
        with pytest.raises(BrokerConflictError):
            subscriber.add(queue("lasting", expires_s=1.0), Mailbox(), LIMIT_S)
        subscriber._post(lambda connection: channels.append(len(connection.connection.channels)))
    subscriber.add(queue("good"), Mailbox(), LIMIT_S)

    assert len(set(channels)) == 1
    office.close()


def test_many_queues_need_no_more_channels_than_one(vhost_url: str) -> None:
    # Given a subscriber with a queue, whose broker allows no further channel
    office, notes = PostOffice(amqp_link, at(vhost_url)), Notebook()
    subscriber, mailboxes = office.subscriber(observer=notes), [Mailbox() for _ in range(20)]
    subscriber.add(queue("first"), mailboxes[0], LIMIT_S)
    channels: list[int] = []

    def allow_no_more(connection: kombu.Connection) -> None:
        # The one of number 0 is the connection's own.
        channels.append(len(connection.connection.channels) - 1)
        connection.connection.channel_max = channels[0]

    subscriber._post(allow_no_more)

    # When many more are asked for, and one that is refused
    for number, mailbox in enumerate(mailboxes[1:]):
        subscriber.add(queue(f"more {number}", delete_on_stop=number % 2 == 0), mailbox, LIMIT_S)
    _declare_fanout(vhost_url, "other")
    with pytest.raises(BrokerConflictError):
        subscriber.add(queue("refused", bindings=(Binding("other", "#"),)), Mailbox(), LIMIT_S)

    # Then all are served, on the same connection
    office.publisher().put(letter("heard"))
    assert [mailbox.expect(1) for mailbox in mailboxes] == [["heard"]] * 20
    assert channels == [2]
    assert notes.subscriptions == 1
    office.close()


@pytest.mark.parametrize("times", [1, 10], ids=["once", "again and again"])
def test_a_channel_that_the_broker_closes_is_opened_again_with_all_its_queues(
    vhost_url: str, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    # Given two queues, one of them with a delivery that is not settled
    office, notes = PostOffice(amqp_link, at(vhost_url)), Notebook()
    subscriber, slow, quick = office.subscriber(observer=notes), Mailbox(keeping), Mailbox()
    subscriber.add(queue("slow"), slow, LIMIT_S)
    subscriber.add(queue("quick"), quick, LIMIT_S)
    publisher = office.publisher()
    publisher.put(letter("before"))
    slow.expect(1)
    quick.expect(1)

    # When the broker closes their channel, as it does when an acknowledgement is late
    for number in range(times):
        subscriber._post(lambda _: subscriber._consuming.channel.basic_ack(1_000))
        wait_until(lambda number=number: slow.expect(2 + number))

    # Then both are consumed again, and what was not settled has come again
    publisher.put(letter("after"))
    quick.expect_until("after")
    wait_until(lambda: slow.texts[-1] == "after")
    for delivery in slow.deliveries:
        delivery.ack()
    wait_until(lambda: office.size("miros_mesh.v1.slow") == 0)
    assert "unknown delivery tag 1000" in caplog.text
    assert times > 1 or notes.subscriptions == 1
    office.close()


def test_a_node_for_which_there_are_too_few_channels_is_told_so_at_once(
    rabbitmq: RabbitServer, guest: Broker, vhost: str, link: KombuLink
) -> None:
    allow(rabbitmq, vhost, configure=".*", write=".*", read=".*")
    rabbitmq.limit_user(GUEST, max_channels=1)

    message = refused(ChannelLimitError, subscribe, link, guest)

    assert "max-channels" in message


# A queue that is full and refuses


@pytest.mark.parametrize("replicated", [False, True], ids=["classic", "quorum"])
def test_a_queue_that_is_full_slows_its_publisher_and_loses_nothing(
    rabbitmq: RabbitServer,
    vhost: str,
    vhost_url: str,
    caplog: pytest.LogCaptureFixture,
    *,
    replicated: bool,
) -> None:
    # Given a queue of twenty, whose consumer takes two milliseconds for each message
    rabbitmq.limit_queues(vhost, "^miros_mesh", 20)
    office, notes, nap = PostOffice(amqp_link, at(vhost_url)), Notebook(), threading.Event()

    def slowly(delivery: Delivery) -> None:
        nap.wait(0.002)
        delivery.ack()

    _, mailbox = office.listen(queue(prefetch=10, replicated=replicated), slowly)
    publisher = office.publisher(observer=notes)

    # When a thousand messages are published as fast as possible
    for number in range(1_000):
        publisher.put(letter(str(number)))
    wait_until(lambda: len(set(mailbox.texts)) == 1_000, REFUSALS_LIMIT_S)

    # Then all arrive, and neither a connection nor the log has suffered
    assert publisher.stop(LIMIT_S).left_over == 0
    assert notes.published_events == 1_000
    assert notes.drops == {}
    assert (notes.ups, notes.downs) == (1, ["stopped"])
    assert caplog.text.count("did not store") == 1
    office.close()


def test_what_follows_a_refusal_keeps_its_order(
    rabbitmq: RabbitServer, vhost: str, vhost_url: str
) -> None:
    # Given a publisher that was refused
    rabbitmq.limit_queues(vhost, "^miros_mesh", 1)
    office, notes = PostOffice(amqp_link, at(vhost_url)), Notebook()
    spec = queue(delete_on_stop=False, prefetch=1)
    office.listen(spec)[0].stop(LIMIT_S)
    publisher = office.publisher(observer=notes)
    for text in ("fills the queue", "first"):
        publisher.put(letter(text))
    wait_until(lambda: notes.published_events == 1)

    # When more is published while a consumer makes room again and again
    texts = [str(number) for number in range(100)]
    for text in texts:
        publisher.put(letter(text))
    _, mailbox = office.listen(spec)

    # Then nothing overtakes anything
    assert mailbox.expect(102, REFUSALS_LIMIT_S)[1:] == ["first", *texts]
    office.close()


def test_a_publisher_that_is_refused_stops_in_time_and_says_what_is_left(
    rabbitmq: RabbitServer, vhost: str, vhost_url: str
) -> None:
    # Given a full queue, and a publisher that is refused for longer than two heartbeats
    rabbitmq.limit_queues(vhost, "^miros_mesh", 2)
    office, notes = PostOffice(amqp_link, at(vhost_url)), Notebook()
    office.listen(queue(delete_on_stop=False))[0].stop(LIMIT_S)
    publisher = office.publisher(observer=notes, heartbeat_interval_s=1.0)
    for number in range(10):
        publisher.put(letter(str(number)))
    wait_until(lambda: notes.published_events == 2)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 3.0)

    # When it stops, then it takes no longer than it may
    began = time.monotonic()
    assert publisher.stop(0.5).left_over == 8
    assert time.monotonic() - began < ANSWER_LIMIT_S
    wait_until(lambda: notes.downs == ["stopped"])
    office.close()


def test_a_publisher_goes_on_soon_after_a_full_queue_has_room(
    rabbitmq: RabbitServer, vhost: str, vhost_url: str
) -> None:
    rabbitmq.limit_queues(vhost, "^miros_mesh", 2)
    office, notes = PostOffice(amqp_link, at(vhost_url)), Notebook()
    office.listen(queue(delete_on_stop=False))[0].stop(LIMIT_S)
    publisher = office.publisher(observer=notes)
    for number in range(500):
        publisher.put(letter(str(number)))
    wait_until(lambda: notes.published_events == 2)

    rabbitmq.lift_queues(vhost)

    wait_until(lambda: notes.published_events == 500)
    office.close()


# Several at once, several addresses


def test_too_many_connections_at_once(link: KombuLink, vhost_url: str) -> None:
    """The pool of an address has an end, and frees a place with each connection that ends."""
    broker = at(vhost_url)
    publishers = [link.publisher(broker) for _ in range(CONNECTIONS_PER_ADDRESS)]
    for publisher in publishers:
        publisher.start()
        publisher.wait_ready(LIMIT_S)

    with pytest.raises(BrokerUnreachableError, match="4 connections there already; try again"):
        link.probe(broker)

    publishers[0].stop(LIMIT_S)
    link.probe(broker)
    for publisher in publishers:
        publisher.stop(LIMIT_S)


def test_the_first_address_that_answers_is_taken(vhost_url: str) -> None:
    (port,) = free_ports(1)
    alive = BrokerAddress.parse(vhost_url)
    office = PostOffice(amqp_link, Broker("cluster", (address_of(port), alive)))

    _, mailbox = office.listen(queue())
    office.publisher().put(letter("heard"))

    assert mailbox.expect(1) == ["heard"]
    office.close()


def test_when_no_address_answers_the_last_one_is_blamed(link: KombuLink) -> None:
    ports = free_ports(2)

    message = refused(
        BrokerUnreachableError, probe, link, Broker("cluster", tuple(map(address_of, ports)))
    )

    assert str(ports[1]) in message


# Too early, too late


def test_a_queue_that_was_not_accepted_in_time_is_forgotten(vhost_url: str) -> None:
    """A chart that gave up must not be handed messages when the broker answers at last."""
    office = PostOffice(amqp_link, at(vhost_url))
    subscriber = office.subscriber()
    late = queue("late")

    with pytest.raises(BrokerUnreachableError, match="did not accept the queue"):
        subscriber.add(late, Mailbox(), timeout_s=0)
    subscriber.add(queue("in time"), Mailbox(), LIMIT_S)

    with kombu.Connection(vhost_url) as connection, pytest.raises(amqp.NotFound):
        connection.channel().queue_declare(late.name, passive=True)
    office.close()


def test_a_worker_whose_first_connection_failed_has_ended(link: KombuLink) -> None:
    (port,) = free_ports(1)
    subscriber, publisher = link.subscriber(at_port(port)), link.publisher(at_port(port))
    for worker in (subscriber, publisher):
        worker.start()
        with pytest.raises(BrokerUnreachableError):
            worker.wait_ready(LIMIT_S)

    with pytest.raises(ConnectionLostError):
        subscriber.add(queue(), Mailbox(), LIMIT_S)
    publisher.put(letter("kept"))

    assert publisher.stop(LIMIT_S).left_over == 1
    subscriber.stop(LIMIT_S)


def test_a_wait_for_a_slow_broker_ends_in_time(link: KombuLink) -> None:
    with server(lambda _: None) as port:
        publisher = link.publisher(at_port(port))
        publisher.start()
        with pytest.raises(BrokerUnreachableError, match=r"no connection .* within 0\.1 s"):
            publisher.wait_ready(0.1)
        publisher.stop(LIMIT_S)


def test_an_orderly_end_amid_deliveries_is_no_warning(
    vhost_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Given thousands of letters on their way to a mailbox that keeps what comes
    office, spec = PostOffice(amqp_link, at(vhost_url)), queue(delete_on_stop=False, prefetch=5_000)
    office.listen(spec)[0].stop(LIMIT_S)
    notes = Notebook()
    publisher = office.publisher(observer=notes)
    for number in range(5_000):
        publisher.put(letter(str(number)))
    wait_until(lambda: notes.published_events == 5_000)
    subscriber, mailbox = office.listen(spec, keeping)
    mailbox.expect(1)

    # When the subscriber stops
    subscriber.stop(LIMIT_S)

    # Then some had not come, and py-amqp has nothing to say of those
    assert len(mailbox.deliveries) < 5_000
    assert [record for record in caplog.records if record.name == "amqp"] == []
    assert office.size(spec.name) == 5_000
    office.close()
