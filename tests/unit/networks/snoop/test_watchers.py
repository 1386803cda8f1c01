"""Those who are shown what a network brings."""

from __future__ import annotations

import threading

from miros_mesh.networks.snoop.watchers import Watchers
from support.post_office import LIMIT_S


def test_every_watcher_is_shown_everything() -> None:
    watchers, seen, other = Watchers[int](), list[int](), list[int]()
    watchers.watch("one", seen.extend)
    watchers.watch("other", other.extend)

    watchers.show([1, 2])

    assert seen == other == [1, 2]


def test_a_watcher_of_several_owners_is_called_once_until_the_last_one_goes() -> None:
    watchers, seen = Watchers[int](), list[int]()
    watch = seen.extend
    for owner in ("one", "other"):
        watchers.watch(owner, watch)

    watchers.show([1])
    watchers.unwatch("one")
    watchers.show([2])
    watchers.unwatch("other")
    watchers.show([3])

    assert seen == [1, 2]


def test_a_network_is_watched_until_its_last_watcher_goes() -> None:
    watchers = Watchers[int]()
    before = watchers.watched
    watchers.watch("one", print)
    watchers.watch("other", print)
    watchers.unwatch("one")
    meanwhile = watchers.watched
    watchers.unwatch("other")

    assert (before, meanwhile, watchers.watched) == (False, True, False)


def test_an_owner_has_one_watcher() -> None:
    watchers, seen, later = Watchers[int](), list[int](), list[int]()
    watchers.watch("one", seen.extend)
    watchers.watch("one", later.extend)

    watchers.show([1])

    assert (seen, later) == ([], [1])


def test_nothing_to_show_calls_nobody() -> None:
    watchers, calls = Watchers[int](), list[object]()
    watchers.watch("one", calls.append)

    watchers.show([])
    watchers.unwatch("never watched")

    assert calls == []


def test_owners_may_come_and_go_while_something_is_shown() -> None:
    watchers, seen = Watchers[int](), list[int]()
    watchers.watch("stays", seen.extend)
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            watchers.watch("one", lambda _: None)
            watchers.unwatch("one")

    other = threading.Thread(target=come_and_go)
    other.start()
    for number in range(1_000):
        watchers.show([number])
    ended.set()
    other.join(LIMIT_S)

    assert seen == list(range(1_000))
