"""How a request of a client ends."""

from __future__ import annotations

import pickle

import pytest

from miros_mesh import Message
from miros_mesh.clients.asked import Asked
from miros_mesh.errors import (
    MeshError,
    RequestTimedOutError,
    RequestUnroutableError,
    StoppedError,
)
from miros_mesh.networks.requests import Outcome, Requests
from miros_mesh.observer import Observer
from miros_mesh.testing.hand_clock import HandClock


def outcome_of(end: Outcome) -> tuple[list[Message | MeshError], str]:
    """What a request is told, which ends in this way."""
    heard: list[Message | MeshError] = []
    clock = HandClock()
    requests = Requests("client", clock, Observer())

    def send(*, asked: object) -> str:
        assert callable(asked)
        asked("1ncarn/client/7")
        return "1ncarn/client/7"

    id_ = requests.open("ask", None, 2.0, Asked(heard.append), send)
    if end == "timed_out":
        clock.advance(2.5)
    elif end == "unroutable":
        requests.unroutable(id_)
    elif end == "stopped":
        requests.close()
    else:
        requests.cancel(id_)
    return heard, id_


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("timed_out", RequestTimedOutError),
        ("unroutable", RequestUnroutableError),
        ("stopped", StoppedError),
    ],
)
def test_each_end_without_an_answer_is_an_error_of_its_own(
    end: Outcome, kind: type[MeshError]
) -> None:
    (error,), _ = outcome_of(end)
    assert type(error) is kind
    assert "ask" in str(error)


def test_a_cancelled_request_hears_nothing() -> None:
    assert outcome_of("cancelled")[0] == []


@pytest.mark.parametrize("end", ["timed_out", "unroutable"])
def test_the_error_says_what_was_asked_and_survives_a_pickle(end: Outcome) -> None:
    (error,), id_ = outcome_of(end)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.signal, copy.request_id, str(copy)) == ("ask", id_, str(error))
    assert copy.retryable
