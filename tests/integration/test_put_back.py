"""Dead letters of real refusals: put back when the reason is gone, and handled once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import PermissionDeniedError, SealedLetterError
from support.charts_at_work import KEY, OTHER_KEY, Ground, Heard, Launch, event
from support.rabbitmq_server import HOST, RabbitServer, erlang_string
from support.waiting import wait_until


class Fragile:
    """A handler that fails over one signal until it is repaired."""

    def __init__(self, signal: str) -> None:
        self.heard = Heard()
        self.repaired = False
        self._signal = signal

    def __call__(self, chart: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name == self._signal and not self.repaired:
            raise ZeroDivisionError("hush")
        self.heard(chart, event)


@pytest.fixture
def listed(ground: Ground) -> Callable[[int], tuple[Letter, ...]]:
    """The letters of the mesh, once there are so many."""

    def letters(count: int) -> tuple[Letter, ...]:
        found: list[Letter] = []

        def enough() -> bool:
            with DeadLetters(ground.make()) as box:
                found[:] = box.list()
            return len(found) == count

        wait_until(enough)
        return tuple(found)

    return letters


def test_what_a_handler_refused_is_handled_once_when_it_is_repaired(
    ground: Ground, launch: Launch, listed: Callable[[int], tuple[Letter, ...]]
) -> None:
    # Given a chart that fails over one event, and another one that hears the same
    door, window = Fragile("knock"), Heard()
    launch("door", ground.node("house"), door, on_handler_error="dead_letter")
    launch("window", ground.node("shed"), window)
    bell = launch("bell", ground.node("street"))
    for number in range(3):
        bell.transmit(event("ring", number))
        bell.transmit(event("knock", number))
    wait_until(lambda: len(window) == 6 and len(door.heard) == 3)

    # When it is repaired, and what it refused is put back
    letters = listed(3)
    assert {(e.signal, e.reason, e.detail, e.chart, e.node) for e in letters} == {
        ("knock", "handler", "ZeroDivisionError", "door", "house")
    }
    assert {(e.sender_chart, e.sender_node, e.content) for e in letters} == {
        ("bell", "street", "event")
    }
    door.repaired = True
    with DeadLetters(ground.make()) as box:
        assert [box.payload(each) for each in letters] == [0, 1, 2]
        assert [each.error for each in box.retry_all()] == [None] * 3

    # Then it handles each of them once, in order, and the other chart none of them again
    bell.transmit(event("last"))
    wait_until(lambda: ("last", None) in window and ("last", None) in door.heard)
    wait_until(lambda: len(door.heard) == 7)
    assert [e for e in door.heard if e[0] == "knock"] == [("knock", n) for n in range(3)]
    assert len(window) == 7
    assert listed(0) == ()


def test_what_is_refused_again_is_a_new_letter(
    ground: Ground, launch: Launch, listed: Callable[[int], tuple[Letter, ...]]
) -> None:
    door = Fragile("knock")
    launch("door", ground.node("house"), door, on_handler_error="dead_letter")
    launch("bell", ground.node("street")).transmit(event("knock", 1))
    (first,) = listed(1)
    with DeadLetters(ground.make()) as box:
        box.retry(first)
        wait_until(lambda: [each.id for each in box.list()] not in ([], [first.id]))
        (again,) = box.list()
        assert again.signal == "knock"
        door.repaired = True
        box.retry(again)
    wait_until(lambda: door.heard == [("knock", 1)])
    assert listed(0) == ()


@pytest.mark.parametrize("ground", ["rabbitmq"], indirect=True)
def test_a_frame_of_an_unknown_key_is_handled_once_its_chart_has_the_key(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart that has not the sender's key
    house = ground.node("house")
    door = launch("door", house)
    bell = launch("bell", ground.node("street").overridden(mesh_encryption_key=OTHER_KEY))
    bell.transmit(event("knock", 1))
    keys = (KEY, OTHER_KEY)
    with DeadLetters(ground.make()) as box:
        # The goodbye of the door is a letter of the bell, and sealed for us.
        wait_until(lambda: box.list(chart="door"))
        door.stop()
        assert {(e.content, e.reason) for e in box.list(chart="door")} == {
            ("frame", "undecryptable")
        }

        # When it comes back with both keys, and the frame is put back
        heard = Heard()
        launch("door", house.overridden(mesh_encryption_key=keys), heard)
        (outcome, *_) = box.retry_all(chart="door")
        assert isinstance(outcome.error, SealedLetterError)
    with DeadLetters(ground.make().overridden(mesh_encryption_key=keys)) as box:
        assert not [each.error for each in box.retry_all(chart="door") if each.error]

        # Then it handles what is in it
        wait_until(lambda: heard == [("knock", 1)])
        assert box.list(chart="door") == ()


def test_what_a_broker_refused_of_a_chart_is_sent_again_when_it_is_permitted(
    rabbitmq: RabbitServer, vhost: str, launch: Launch
) -> None:
    # Given a sender that may not write under its topic, and a receiver that listens there
    user = f"sender-{vhost}"
    rabbitmq.add_user(user, "pass")
    rabbitmq.set_permissions(user, vhost)
    permit(rabbitmq, user, vhost, "^other$")
    url = f"amqp://{user}:pass@{HOST}:{rabbitmq.port}/{vhost}"
    config = MeshConfig(broker_url=url, mesh_encryption_key=KEY)
    receiver = MeshConfig(broker_url=rabbitmq.url(vhost), mesh_encryption_key=KEY)
    heard = Heard()
    launch("door", receiver.overridden(node_name="house"), heard, rx_routing_key="front.#")
    bell = launch("bell", config.overridden(node_name="street"), tx_routing_key="front.bell")
    bell.transmit(event("knock", 1))

    with DeadLetters(config) as box:
        wait_until(box.list)
        (letter,) = box.list()
        assert (letter.place, letter.reason, letter.signal) == ("local", "permission", "knock")
        assert (letter.chart, letter.topic) == ("bell", "front.bell")
        # While the reason is there, the letter stays
        with pytest.raises(PermissionDeniedError):
            box.retry(letter)
        assert box.list() == (letter,)

        # When the topic is permitted
        permit(rabbitmq, user, vhost, ".*")
        wait_until(lambda: retried(box, letter))

    # Then it arrives, once
    bell.stop()
    wait_until(lambda: heard == [("knock", 1)])
    rabbitmq.delete_user(user)


def permit(rabbitmq: RabbitServer, user: str, vhost: str, topics: str) -> None:
    words = ", ".join(
        erlang_string(word) for word in (user, vhost, "miros_mesh.v1.mesh", topics, ".*")
    )
    rabbitmq.eval(f"ok = rabbit_auth_backend_internal:set_topic_permissions({words}, <<>>)")


def retried(box: DeadLetters, letter: Letter) -> bool:
    try:
        box.retry(letter)
    except PermissionDeniedError:
        return False
    return True


@pytest.mark.parametrize("to", [None, "street.all"])
def test_an_event_for_one_chart_that_was_too_old_is_put_back_and_handled(
    ground: Ground, launch: Launch, listed: Callable[[int], tuple[Letter, ...]], to: str | None
) -> None:
    """To that chart, or under a topic to all: who puts it back wants it, however old it is."""
    began, go_on = threading.Event(), threading.Event()
    heard: list[tuple[str, str, str]] = []

    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "wait":
            began.set()
            assert go_on.wait(20)
        elif e.signal_name == "knock" and (received := chart.received):
            heard.append((chart.name, received.routing_key, received.to))

    launch("door", ground.node("house"), handle, rx_routing_key="street.#")
    launch("window", ground.node("house"), handle, rx_routing_key="street.all")
    bell = launch("bell", ground.node("street"), Heard(), tx_routing_key="street.bell")
    bell.transmit(event("wait"))
    bell.transmit(event("knock", 1), to="house/door", ttl_s=0.05)
    assert began.wait(20)
    sent_at = time.monotonic()
    wait_until(lambda: time.monotonic() > sent_at + 0.1)
    go_on.set()

    (letter,) = listed(1)
    assert (letter.reason, letter.chart) == ("expired", "door")
    with DeadLetters(ground.make()) as box:
        box.retry(letter, topic=to)

    wanted = {("door", "", "house/door")}
    if to:
        wanted = {("door", to, ""), ("window", to, "")}
    wait_until(lambda: set(heard) == wanted)
    assert listed(0) == ()


@pytest.mark.parametrize(
    "how",
    [
        {"group_mode": "standby"},
        {"group_mode": "share"},
        {"group_mode": "share", "partition_by": lambda event: event.payload},
    ],
)
def test_what_a_member_refused_goes_back_to_its_group_and_any_member_may_handle_it(
    how: dict[str, object],
    ground: Ground,
    launch: Launch,
    listed: Callable[[int], tuple[Letter, ...]],
) -> None:
    # Given two members that fail over one event
    doors = [Fragile("knock"), Fragile("knock")]
    for number, door in enumerate(doors):
        launch(
            "door",
            ground.node(f"house{number}", heartbeat_interval_s=1.0),
            door,
            on_handler_error="dead_letter",
            group="doors",
            **how,
        )
    launch("bell", ground.node("street"), rx_routing_key="none").transmit(event("knock", 1))
    (letter,) = listed(1)
    assert letter.queue.startswith("miros_mesh.v1.group.doors.door.")

    # When they are repaired, and it is put back
    for door in doors:
        door.repaired = True
    with DeadLetters(ground.make()) as box:
        box.retry(letter)

    # Then one of them handles it, once
    wait_until(lambda: [*doors[0].heard, *doors[1].heard] == [("knock", 1)])
    assert listed(0) == ()
