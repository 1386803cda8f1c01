"""Events that a broker refused: kept sealed, counted, told, logged once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.boxes import broker_of
from miros_mesh.errors import LinkError, MessageTooLargeError, PermissionDeniedError
from miros_mesh.link.ports import Broker
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.letters.local import FILE, LocalLetters
from miros_mesh.networks.letters.refused_events import RefusedEvents
from miros_mesh.networks.network import Refusal
from miros_mesh.signals import OutboxRefused
from miros_mesh.wire.envelope import DeadLetter, Envelope, kept
from miros_mesh.wire.keyring import KeyRing
from support.charts_at_work import Recorder
from support.sealed import FRAME_LIMIT, KEY, OURS, envelope, mesh_codec

LIMIT_S = 30.0
BROKER = "amqp://peter@192.0.2.7:5672//"
codec = letter_codec(KeyRing([KEY]), FRAME_LIMIT)


@dataclass
class Bench:
    """Refused events of a node, with a store, and what is told of them."""

    folder: Path
    most_bytes: int = 1_000_000
    told: list[OutboxRefused] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.store = LocalLetters(self.folder, most_letters=3, most_bytes=self.most_bytes)
        self.events = RefusedEvents(
            self.store, codec, OURS, "mesh", self.recorder, self.told.append, max_event_bytes=4096
        )

    def refuse(
        self, *events: Envelope, error: LinkError | None = None, counted: bool = True
    ) -> None:
        error = error or MessageTooLargeError("message size 5000 is larger than 4000")
        encoded = [mesh_codec.encode(each) for each in events]
        self.events.keep(Refusal("plant.north", BROKER, error, events, encoded, counted=counted))

    def end(self) -> None:
        """Wait until all that was refused is kept or lost."""
        self.events.stop(LIMIT_S)

    @property
    def letters(self) -> list[DeadLetter]:
        """What is kept at the end."""
        self.end()
        return [codec.open(sealed)[0] for _, sealed in self.store.all()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "mine")
    yield made
    made.end()


def test_a_letter_has_the_event_and_all_that_is_known_of_its_refusal(bench: Bench) -> None:
    event = envelope(7, "ping", "payload", sender=OURS)

    bench.refuse(event)

    [letter] = bench.letters
    encoded = mesh_codec.encode(event)
    assert letter.event
    assert kept(letter.event) == event
    assert (letter.node, letter.chart, letter.queue) == (OURS.node, "talker", "")
    assert (letter.reason, letter.routing_key) == ("message_size", "plant.north")
    assert letter.exchange == "miros_mesh.v1.mesh"
    assert "5000 is larger than 4000" in letter.detail
    assert letter.peer == BROKER
    assert letter.size_bytes == len(encoded)
    assert letter.digest == hashlib.sha256(encoded).hexdigest()
    assert bench.told == [
        OutboxRefused(BROKER, "message_size", "ping", event.id, "plant.north", len(encoded))
    ]


def test_a_letter_about_a_broker_with_a_long_name_can_be_read(bench: Bench) -> None:
    name, error = f"embedded:/{'folder/' * 400}", PermissionDeniedError("no")
    event = envelope(1)

    bench.events.keep(Refusal("a", name, error, [event], [mesh_codec.encode(event)], counted=True))

    [letter] = bench.letters
    assert letter.event
    assert kept(letter.event) == event
    assert name.startswith(letter.peer)
    assert broker_of(letter.peer, Broker(name), MeshConfig()) == Broker(name)


def test_what_is_kept_shows_nothing_without_the_key(bench: Bench) -> None:
    bench.refuse(envelope(1, "a_signal", "a payload"))
    bench.end()

    stored = (bench.folder / FILE).read_bytes()
    assert b"a_signal" not in stored
    assert b"a payload" not in stored


def test_the_log_names_both_limits_and_no_payload(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        bench.refuse(envelope(number, "ping", "a payload"))
    bench.end()

    [line] = caplog.messages
    for word in ("ping", "plant.north", BROKER, "max_event_bytes", "4,096", "max_message_size"):
        assert word in line
    assert "a payload" not in line
    assert caplog.records[0].levelname == "ERROR"


def test_words_of_the_library_are_not_kept(bench: Bench) -> None:
    bench.refuse(envelope(1, "miros_mesh.beat"), counted=False)

    assert bench.letters == []
    assert bench.told == []


def test_what_is_too_large_to_be_kept_leaves_a_note(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "mine", most_bytes=4_000)
    bench.refuse(envelope(1, "small"))

    bench.refuse(envelope(2, "large", "x" * 5_000))

    small, large = bench.letters
    assert small.event
    assert large.event is None
    assert large.size_bytes > 5_000


def test_letters_that_go_for_new_ones_are_counted(bench: Bench) -> None:
    bench.refuse(*(envelope(n) for n in range(1, 6)), error=PermissionDeniedError("no"))

    assert len(bench.told) == 5
    assert [letter.event.sequence for letter in bench.letters if letter.event] == [3, 4, 5]
    assert bench.recorder.drops == [("mesh", "dead_letters_full", 2)]


def test_where_nothing_can_be_kept_it_is_told_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    bench = Bench(tmp_path / "file" / "mine")

    bench.refuse(envelope(1), envelope(2))
    assert bench.recorder.drops == []
    bench.end()

    assert bench.recorder.drops == [("mesh", "not_kept", 2)]
    assert len(bench.told) == 2
    waiting, line = caplog.messages
    assert "2 refused event(s) wait to be kept" in waiting
    assert "not kept, so they are lost" in line
    assert "file/mine" in line


def test_what_comes_after_the_end_is_told_as_lost(bench: Bench) -> None:
    bench.end()

    bench.refuse(envelope(1))

    assert bench.recorder.drops == [("mesh", "not_kept", 1)]
    assert len(bench.told) == 1
