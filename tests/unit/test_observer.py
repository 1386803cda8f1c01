"""Observers: every hook is optional, and a broken one harms nobody."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

import pytest

from miros_mesh.observer import Observer, Observers

HOOKS: dict[str, dict[str, Any]] = {
    "transmitted": {"network": "mesh", "chart": "c"},
    "published": {"network": "mesh", "peer": "p", "events": 1, "size_bytes": 9, "seconds": 0.1},
    "received": {"network": "mesh", "events": 1, "size_bytes": 9},
    "handed_over": {"chart": "c", "seconds": 0.1},
    "dropped": {"network": "mesh", "reason": "overflow", "events": 2},
    "overflowed": {"peer": "p", "network": "mesh", "events": 2},
    "publication_refused": {"peer": "p", "network": "mesh", "reason": "permission", "events": 2},
    "unroutable": {"peer": "p", "topic": "t", "events": 1},
    "request_ended": {"chart": "c", "outcome": "timed_out", "seconds": 0.1},
    "set_aside": {"chart": "c", "reason": "payload"},
    "gap": {"network": "mesh", "sender": "s", "missing": 3},
    "repaired": {"network": "mesh", "events": 3},
    "peer_up": {"peer": "p"},
    "peer_down": {"peer": "p", "reason": "lost"},
    "blocked": {"peer": "p"},
    "unblocked": {"peer": "p"},
    "subscribed": {"broker": "b"},
    "unsubscribed": {"broker": "b", "reason": "lost"},
    "unreached": {"peer": "p", "reason": "credentials"},
    "hearing": {"chart": "c"},
    "deaf": {"chart": "c", "reason": "permission"},
    "scouted": {"source": "lan", "host": "h", "verdict": "ours", "seconds": 0.1},
    "searched": {"source": "lan", "found": 2, "seconds": 0.1},
    "cache_read": {"hit": True},
    "alien": {"outcome": "adopted"},
    "chart_left": {"node": "n", "chart": "c"},
    "chart_died": {"chart": "c", "error": ValueError("x")},
    "chart_revived": {"chart": "c"},
    "thread_died": {"thread": "t", "peer": "p", "error": ValueError("x")},
}


class Recorder(Observer):
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def dropped(self, **facts: Any) -> None:
        self.calls.append(("dropped", facts))

    def peer_up(self, **facts: Any) -> None:
        self.calls.append(("peer_up", facts))


class Broken(Observer):
    def peer_up(self, **facts: Any) -> None:
        raise RuntimeError("this hook is broken")

    def dropped(self, **facts: Any) -> None:
        raise RuntimeError("this hook is broken too")


def test_the_hooks_are_the_ones_that_are_tested() -> None:
    assert {name for name in vars(Observer) if not name.startswith("_")} == set(HOOKS)


@pytest.mark.parametrize(("hook", "facts"), HOOKS.items())
@pytest.mark.parametrize("observer", [Observer(), Observers(), Observers(Observer())])
def test_a_hook_that_nobody_overrides_does_nothing(
    observer: Observer, hook: str, facts: dict[str, Any]
) -> None:
    assert getattr(observer, hook)(**facts) is None


@pytest.mark.parametrize(("hook", "facts"), HOOKS.items())
def test_hooks_take_keywords_only_so_that_facts_can_be_added(
    hook: str, facts: dict[str, Any]
) -> None:
    parameters = list(inspect.signature(getattr(Observer, hook)).parameters.values())[1:]
    assert {p.name for p in parameters} == set(facts)
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters)


def test_every_observer_is_told_in_order() -> None:
    first, second = Recorder(), Recorder()
    observers = Observers(first, Observers(second))
    observers.peer_up(peer="p")
    observers.dropped(network="mesh", reason="overflow", events=2)
    expected = [
        ("peer_up", {"peer": "p"}),
        ("dropped", {"network": "mesh", "reason": "overflow", "events": 2}),
    ]
    assert first.calls == second.calls == expected


def test_a_hook_that_raises_stops_neither_the_caller_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    healthy = Recorder()
    observers = Observers(Broken(), healthy)
    observers.peer_up(peer="p")
    assert healthy.calls == [("peer_up", {"peer": "p"})]
    assert "this hook is broken" in caplog.text


def test_a_hook_that_raises_is_logged_once_and_each_hook_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    observers = Observers(Broken())
    with caplog.at_level(logging.ERROR, logger="miros_mesh.observer"):
        for _ in range(3):
            observers.peer_up(peer="p")
            observers.dropped(network="mesh", reason="overflow", events=1)
    assert [record.message.split(" raised in ")[1] for record in caplog.records] == [
        "peer_up; said once",
        "dropped; said once",
    ]


def test_hooks_that_nobody_overrides_are_the_base_and_cost_what_it_costs() -> None:
    observers = Observers(Recorder())
    assert set(vars(observers)) == {"dropped", "peer_up"}


def test_a_hook_that_is_overridden_on_the_instance_alone_is_told() -> None:
    told: list[dict[str, Any]] = []
    observer: Any = Observer()
    observer.blocked = lambda **facts: told.append(facts)
    Observers(observer).blocked(peer="p")
    assert told == [{"peer": "p"}]


def test_a_hook_that_causes_its_own_call_is_not_called_again_but_the_others_are() -> None:
    # Given an observer whose hook does what calls the hook
    class Endless(Recorder):
        def peer_up(self, **facts: Any) -> None:
            super().peer_up(**facts)
            observers.peer_up(peer="caused")

    endless, other = Endless(), Recorder()
    observers = Observers(endless, other)
    observers.peer_up(peer="p")
    # Then it hears of the first alone, and the other one of both
    assert endless.calls == [("peer_up", {"peer": "p"})]
    assert other.calls == [("peer_up", {"peer": "caused"}), ("peer_up", {"peer": "p"})]
    # And another thread hears all the same
    thread = threading.Thread(target=lambda: observers.peer_up(peer="q"))
    thread.start()
    thread.join()
    assert endless.calls[1:] == [("peer_up", {"peer": "q"})]


def test_observers_can_be_compared_and_hashed_as_settings_are() -> None:
    recorder = Recorder()
    assert hash((recorder,)) == hash((recorder,))
    assert isinstance(Observers(recorder), Observer)
