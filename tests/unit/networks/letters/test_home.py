"""Dead letters on their way: each kept once, acknowledged when it is stored, few at a time."""

from __future__ import annotations

import pytest

from miros_mesh.errors import MessageTooLargeError
from miros_mesh.networks.arrival import Reason
from miros_mesh.networks.letters.home import KEPT_BYTES, Place
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import TracedEnvelope, kept
from support.ports_in_hand import Handed
from support.sealed import PLACE, LetterShelf, envelope

BAD = Reason("payload", "no msgpack")


class Told(Observer):
    """What was set aside."""

    def __init__(self) -> None:
        self.aside: list[tuple[str, str]] = []

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))


class Calls(list[str]):
    """What was called back."""

    def note(self, word: str) -> object:
        return lambda: self.append(word)


@pytest.fixture
def home() -> LetterShelf:
    return LetterShelf()


def refuse(home: LetterShelf, *numbers: int) -> list[int]:
    """Set events aside; the list gets the numbers of those that were stored."""
    stored: list[int] = []
    for number in numbers:
        home.letters.keep_event(
            PLACE, envelope(number), BAD, lambda number=number: stored.append(number)
        )
    return stored


def test_an_event_is_kept_with_what_is_known_of_it() -> None:
    told = Told()
    home = LetterShelf(told)

    refuse(home, 1)

    (letter,) = home.kept
    assert (letter.node, letter.chart, letter.queue) == ("here", *PLACE)
    assert (letter.exchange, letter.routing_key) == ("miros_mesh.v1.mesh", "")
    assert (letter.reason, letter.detail, letter.deliveries) == ("payload", "no msgpack", 0)
    assert letter.event
    assert kept(letter.event) == envelope(1)
    assert (letter.size_bytes > 0, len(letter.digest)) == (True, 64)
    assert told.aside == [("listener", "payload")]
    (parcel,) = home.shelf.parcels
    # For those who have no key
    assert parcel.routing_key == "payload"
    assert parcel.events == 0


def test_a_traced_event_is_kept_without_its_trace(home: LetterShelf) -> None:
    plain = envelope(1)
    fields = (getattr(plain, name) for name in plain.__struct_fields__)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    home.letters.keep_event(PLACE, TracedEnvelope(*fields, trace), BAD, lambda: None)

    assert [kept(letter.event) for letter in home.kept if letter.event] == [plain]


def test_what_is_set_aside_is_called_back_when_it_is_stored_and_once(home: LetterShelf) -> None:
    stored = refuse(home, 1, 2)
    assert stored == []

    home.confirm()
    home.confirm()

    assert stored == [1, 2]


def test_what_is_refused_again_meanwhile_joins_its_letter(home: LetterShelf) -> None:
    told = Told()
    home = LetterShelf(told)

    stored = refuse(home, 1, 1)
    frames = Handed(b"rubbish"), Handed(b"rubbish")
    for frame in frames:
        home.letters.keep_frame(PLACE, frame, Reason("malformed"))

    assert len(home.kept) == 2
    assert len(told.aside) == 2
    home.confirm()
    assert stored == [1, 1]
    assert [frame.acks for frame in frames] == [1, 1]


def test_after_it_was_stored_it_is_a_letter_of_its_own(home: LetterShelf) -> None:
    refuse(home, 1)
    home.confirm()

    refuse(home, 1)

    assert len(home.kept) == 2


def test_no_more_than_a_hundred_are_on_their_way(home: LetterShelf) -> None:
    stored = refuse(home, *range(1, 251))
    assert len(home.shelf.parcels) == 100

    home.confirm()

    assert len(home.shelf.parcels) == 200
    home.confirm()
    home.confirm()
    assert stored == list(range(1, 251))


def test_no_more_than_sixteen_mebibytes_are_on_their_way(home: LetterShelf) -> None:
    frames = [Handed(bytes([number]) * KEPT_BYTES) for number in range(3)]
    for frame in frames:
        home.letters.keep_frame(PLACE, frame, Reason("oversize"))
    assert len(home.shelf.parcels) == 2

    home.confirm()

    assert len(home.shelf.parcels) == 3


def test_what_is_too_large_is_kept_as_a_note(home: LetterShelf) -> None:
    frame = Handed(bytes(KEPT_BYTES + 1))

    home.letters.keep_frame(PLACE, frame, Reason("oversize"))

    (letter,) = home.kept
    assert (letter.frame, letter.event, letter.size_bytes) == (b"", None, KEPT_BYTES + 1)
    home.confirm()
    assert frame.acks == 1


def test_what_the_broker_refuses_goes_as_a_note(home: LetterShelf) -> None:
    frame = Handed(b"rubbish")
    home.letters.keep_frame(PLACE, frame, Reason("malformed"))

    home.shelf.parcels[0].refused("broker", MessageTooLargeError("no"))

    assert [letter.frame for letter in home.kept] == [b"rubbish", b""]
    assert frame.acks == 0
    home.confirm()
    assert frame.acks == 1


def test_a_note_that_the_broker_refuses_is_logged_and_gone(
    home: LetterShelf, caplog: pytest.LogCaptureFixture
) -> None:
    frame = Handed(b"rubbish")
    home.letters.keep_frame(PLACE, frame, Reason("malformed"))

    for _ in range(2):
        home.shelf.parcels[-1].refused("broker", MessageTooLargeError("no"))

    assert frame.acks == 1
    assert "dead letter of chart listener (malformed) is gone" in caplog.text
    assert home.letters.wait_stored(PLACE, 0)


def test_what_a_full_outbox_drops_is_sent_again_when_there_is_room(
    home: LetterShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = refuse(home, 1)
    home.shelf.parcels.pop().dropped("broker")
    # Not at once, since the outbox is as full as before
    facts = {"network": "mesh", "peer": "home", "events": 1, "size_bytes": 9, "seconds": 0.0}
    home.letters.published(**facts)  # type: ignore[arg-type]
    assert home.shelf.parcels == []

    monkeypatch.setattr("miros_mesh.networks.letters.home._PAUSE_S", 0.0)
    home.letters._resume_at = 0.0
    home.letters.published(**facts)  # type: ignore[arg-type]

    home.confirm()
    assert stored == [1]


def test_a_stop_waits_for_the_letters_of_its_chart_alone(home: LetterShelf) -> None:
    assert home.letters.wait_stored(PLACE, 0)
    refuse(home, 1)
    assert not home.letters.wait_stored(PLACE, 0)
    assert home.letters.wait_stored(Place("neighbour", "queue of neighbour"), 0)

    home.confirm()

    assert home.letters.wait_stored(PLACE, 0)
