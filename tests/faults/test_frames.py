"""What a broker, another version or a stranger may put before a receiver."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator

import kombu
import pytest
from msgspec.structs import replace

from faults.conftest import Told, settings
from faults.traffic import SIGNAL, Handled, accounted, events_through
from miros_mesh import DEFAULT_ROUTING_KEY
from miros_mesh.networks.network import exchange_of
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer
from support.charts_at_work import KEY, Heard, Launch, event, node_of
from support.waiting import wait_until

SEED = 20_261_121
FRAMES = 300
MANY = 2_000
YEAR_S = 365 * 86_400.0
LATEST = 253_370_764_800.0
REFUSALS = ("undecryptable", "malformed", "version", "oversize")

LABEL = "frames"
codec = Codec("mesh", KeyRing([KEY]), Envelope, max_frame_bytes=100_000, label=LABEL)
serializer = MsgpackSerializer()


class Post:
    """Publishes to the mesh's exchange whatever it is given."""

    def __init__(self, url: str) -> None:
        self.connection = kombu.Connection(url, transport_options={"confirm_publish": True})
        self._producer = kombu.Producer(self.connection.channel(), auto_declare=False)

    def __call__(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            self._producer.publish(
                body,
                exchange=exchange_of("mesh"),
                routing_key=DEFAULT_ROUTING_KEY,
                content_type="application/octet-stream",
                content_encoding="binary",
            )


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def post(vhost_url: str, launch: Launch, handled: Handled, told: Told) -> Iterator[Post]:
    """Somebody who publishes past the library to a chart."""
    launch("receiver", settings(vhost_url, mesh_label=LABEL, observers=(told,)), handled)
    post = Post(vhost_url)
    yield post
    post.connection.close()


def frame(number: int, *, sent_at: float | None = None) -> bytes:
    """A sealed frame as the sender of this number would have made it."""
    when = time.time() if sent_at is None else sent_at
    payload = serializer.dumps(number)
    envelope = Envelope("elsewhere", "talker", "f0e1d2", number + 1, SIGNAL, payload, when)
    return codec.seal([codec.encode(envelope)], DEFAULT_ROUTING_KEY)


def test_duplicate_delivery(post: Post, handled: Handled, told: Told) -> None:
    frames = [frame(number) for number in range(FRAMES)]
    post(copy for each in frames for copy in (each, each))
    post(frames)
    account = accounted("duplicate delivery", range(FRAMES), handled)
    assert account.perfect, account
    # The last copies come after all is handled.
    wait_until(lambda: told.dropped_for("duplicate") >= 2 * FRAMES)
    assert told.dropped_for("duplicate") == 2 * FRAMES


def test_dead_letters_put_back_to_a_restarted_chart_bring_themselves_alone(
    vhost_url: str, launch: Launch, handled: Handled, told: Told
) -> None:
    """One waits in the chart's queue before all else, the other comes amid the events of now."""
    sender = launch("sender", settings(vhost_url, mesh_label=LABEL), Heard())
    for number in range(1, MANY + 1):
        sender.transmit(event(SIGNAL, -number))
    node = node_of(sender)
    kept = node.repair._history.find("sender", [(1, MANY)])
    events = node.mesh.network.decoded([each.encoded for each in kept])
    letters = {each.sequence: each for each in events}
    # Its queue is there from now on; the events are not for it.
    launch(
        "receiver", settings(vhost_url, mesh_label=LABEL, node_name="receiver"), Handled()
    ).stop()

    def put_back(number: int) -> None:
        old = replace(letters[number], sent_at=letters[number].sent_at - YEAR_S)
        with kombu.Connection(vhost_url) as connection:
            kombu.Producer(connection.channel(), auto_declare=False).publish(
                codec.seal([codec.encode(old)], DEFAULT_ROUTING_KEY),
                exchange=exchange_of("mesh"),
                routing_key=DEFAULT_ROUTING_KEY,
                content_type="application/octet-stream",
                content_encoding="binary",
            )

    put_back(5)
    launch(
        "receiver",
        settings(vhost_url, mesh_label=LABEL, node_name="receiver", observers=(told,)),
        handled,
    )
    with events_through("a dead letter put back", sender, handled):
        put_back(9)
        wait_until(lambda: -9 in handled.numbers)
    assert [number for number in handled.numbers if number < 0] == [-5, -9]
    assert told.missing == 0


def reordered() -> list[int]:
    """The numbers, and in every ten of them two have changed places."""
    numbers = list(range(FRAMES))
    for at in range(10, FRAMES, 10):
        numbers[at], numbers[at + 3] = numbers[at + 3], numbers[at]
    return numbers


def test_reordered_delivery(post: Post, handled: Handled, told: Told) -> None:
    post(map(frame, reordered()))
    account = accounted("reordered delivery", range(FRAMES), handled)
    assert account.perfect, account
    assert told.missing == 0


def test_frames_that_never_come_hold_the_later_ones_up_only_so_long(
    vhost_url: str, launch: Launch, handled: Handled, told: Told
) -> None:
    config = settings(vhost_url, mesh_label=LABEL, observers=(told,), repair_timeout_s=1.0)
    launch("receiver", config, handled)
    post = Post(vhost_url)
    sent = [number for number in range(FRAMES) if number % 10]
    post(map(frame, sent))
    account = accounted("frames that nobody has", sent, handled)
    post.connection.close()
    assert account.perfect, account
    # The first number of a stream that is seen is the first one that was meant for us.
    assert told.missing == FRAMES - len(sent) - 1


def test_random_bytes(
    vhost_url: str, post: Post, launch: Launch, handled: Handled, told: Told
) -> None:
    random.seed(SEED)
    sender = launch("sender", settings(vhost_url, mesh_label=LABEL), Heard())
    with events_through("random bytes mixed in", sender, handled):
        post(random.randbytes(random.randrange(3_000)) for _ in range(FRAMES))
    assert told.dropped_for(*REFUSALS) == FRAMES


def test_damaged_frames(post: Post, handled: Handled, told: Told) -> None:
    random.seed(SEED)
    for number in range(FRAMES):
        good = frame(number)
        at = random.randrange(1, len(good))
        post([good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], good[:at], good])
    account = accounted("damaged frames mixed in", range(FRAMES), handled)
    assert account.perfect, account
    assert told.dropped_for(*REFUSALS) == 2 * FRAMES


def test_clock_of_the_sender_jumps(post: Post, handled: Handled, told: Told) -> None:
    now = time.time()
    clocks = (now, now + YEAR_S, now - YEAR_S, 0.0, LATEST)
    post(frame(number, sent_at=clocks[number % len(clocks)]) for number in range(FRAMES))
    account = accounted("clock of the sender jumps", range(FRAMES), handled)
    assert account.perfect, account
    assert all(0 <= seconds < math.inf for seconds in told.latencies)
