"""What was refused: listed, read, put back to the chart that refused it, and dropped."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from miros_mesh.address import BrokerAddress
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.dead_letters.dead_letters import DeadLetters, Outcome
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import (
    AddressError,
    BrokerUnreachableError,
    EmptyLetterError,
    PermissionDeniedError,
    RoutingKeyError,
    SealedLetterError,
    UnknownLetterError,
    UnroutableError,
)
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Ground,
    Heard,
    Launch,
    event,
    seal,
)
from support.dead_letters import connection, keep, keep_here, refused, sealed, waiting
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.secret_files import write_secret
from support.waiting import wait_until


@pytest.fixture
def config(ground: Ground) -> MeshConfig:
    """The settings of the operator: those of the mesh, and no name."""
    return ground.make()


@pytest.fixture
def box(config: MeshConfig) -> Iterator[DeadLetters]:
    """The dead letters of the mesh."""
    with DeadLetters(config) as letters:
        yield letters


def signals(letters: DeadLetters) -> list[str]:
    return [letter.signal for letter in letters.list()]


def one(letters: DeadLetters) -> Letter:
    (letter,) = letters.list()
    return letter


# Looking


def test_where_nothing_was_refused_nothing_is_listed(box: DeadLetters) -> None:
    assert box.list() == ()
    assert list(box.retry_all()) == list(box.drop_all()) == []
    with pytest.raises(UnknownLetterError, match="no dead letter 'abc'"):
        box.find("abc")


def test_a_letter_says_what_was_refused_by_whom_and_why(
    config: MeshConfig, box: DeadLetters
) -> None:
    keep(config, refused("knock", {"door": 3}))

    letter = one(box)

    assert (letter.place, letter.content, letter.reason) == ("broker", "event", "handler")
    assert (letter.node, letter.chart, letter.detail) == ("house", "door", "ZeroDivisionError")
    assert (letter.sender_node, letter.sender_chart) == ("street", "bell")
    assert (letter.signal, letter.event_id, letter.deliveries) == (
        "knock",
        "1ncarnation/bell/1",
        5,
    )
    assert box.payload(letter) == {"door": 3}
    assert box.find(letter.id[:5]) == letter
    assert "door': 3" not in str(letter)


def test_letters_open_with_the_keys_that_their_file_holds_now(
    vhost_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    write_secret(file, KEY.decode())
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=SecretFile(file))
    with DeadLetters(config) as letters:
        keep(config, refused("before"))
        assert signals(letters) == ["before"]
        write_secret(file, f"{OTHER_KEY.decode()},{KEY.decode()}")
        other = config.overridden(mesh_encryption_key=OTHER_KEY)
        keep(other, refused("after", number=2))
        assert signals(letters) == ["before", "after"]


def test_listing_leaves_the_order_and_number_of_letters(
    config: MeshConfig, box: DeadLetters
) -> None:
    sent = [f"signal_{number}" for number in range(50)]
    keep(config, *(refused(signal, number=n) for n, signal in enumerate(sent, 1)))

    assert signals(box) == signals(box) == sent
    box.payload(box.list()[7])

    assert signals(box) == sent
    assert waiting(config) == len(sent)


def test_what_a_broker_refused_is_listed_behind_what_charts_refused(
    config: MeshConfig, box: DeadLetters
) -> None:
    keep_here(config, refused("from_here", queue="", reason="message_size"))
    keep(config, refused("from_there"))

    assert [(e.place, e.signal) for e in box.list()] == [
        ("broker", "from_there"),
        ("local", "from_here"),
    ]
    assert [e.signal for e in box.list(place="local")] == ["from_here"]


def test_a_letter_of_another_key_is_shown_sealed(config: MeshConfig, box: DeadLetters) -> None:
    keep(config.overridden(mesh_encryption_key=OTHER_KEY), refused("secret", "hush"))
    keep(config, b"no letter at all")

    letters = box.list()

    assert [e.content for e in letters] == ["sealed", "sealed"]
    assert letters[1].size_bytes == len(b"no letter at all")
    assert not any((letters[0].signal, letters[0].reason, letters[0].time))
    with pytest.raises(SealedLetterError, match="mesh_encryption_key"):
        box.payload(letters[0])
    with pytest.raises(SealedLetterError, match=letters[0].id):
        box.retry(letters[0])
    assert box.list() == letters
    box.drop(letters[0])
    assert box.list() == letters[1:]


def test_two_letters_that_begin_alike_are_told_apart(config: MeshConfig, box: DeadLetters) -> None:
    keep(config, *(refused(number=n) for n in range(1, 18)))
    first = box.list()[0]
    # Of 17 letters two begin with the same of 16 digits.
    heads = [e.id[0] for e in box.list()]
    twice = next(head for head in heads if heads.count(head) > 1)
    with pytest.raises(UnknownLetterError, match=f"letters begin with '{twice}'"):
        box.find(twice)
    assert box.find(first.id) == first


def test_filters_choose_by_pattern_and_by_time(config: MeshConfig, box: DeadLetters) -> None:
    keep(
        config,
        refused("knock", reason="handler", time=1_000.0),
        refused("ring", reason="payload", time=2_000.0, chart="window"),
        refused("ring", reason="payload", time=3_000.0, routing_key="garden"),
    )

    def times(**filters: str | float) -> list[float | None]:
        return [letter.time for letter in box.list(**filters)]

    assert times(signal="r*") == [2_000.0, 3_000.0]
    assert times(reason="payload", chart="door") == [3_000.0]
    assert times(sender="bell", topic="garden") == [3_000.0]
    assert times(since=2_000.0) == [2_000.0, 3_000.0]
    assert times(before=2_000.0, node="ho?se") == [1_000.0]
    assert times(place="local") == []


@pytest.mark.parametrize("ground", ["embedded", "rabbitmq"], indirect=True)
def test_a_thousand_large_letters_are_listed_within_little_memory(
    config: MeshConfig, box: DeadLetters
) -> None:
    size_bytes = 100_000
    for _ in range(10):
        keep(config, *(refused(payload="x" * size_bytes, number=n + 1) for n in range(100)))
    tracemalloc.start()
    try:
        assert len(box.list()) == 1_000
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 50 * size_bytes


# Putting back


def test_a_retried_event_is_handled_once_by_the_chart_that_refused_it_and_by_no_other(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    # Given two charts that listen to the same topic, and a letter that one of them refused
    heard, other = Heard(), Heard()
    launch("door", ground.node("house"), heard)
    sender = launch("bell", ground.node("street"), Heard())
    launch("window", ground.node("shed"), other)
    keep(config, refused("knock", [1, 2]))

    # When it is put back
    box.retry(one(box))

    # Then that one handles it once, and the other one what comes after it and not it
    sender.transmit(event("after"))
    wait_until(lambda: ("after", None) in heard and ("after", None) in other)
    wait_until(lambda: ("knock", [1, 2]) in heard)
    assert len(heard) == 2
    assert other == [("after", None)]
    assert box.list() == ()


def test_a_letter_whose_removal_was_lost_and_is_put_back_again_is_handled_once(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    heard = Heard()
    launch("door", ground.node("house"), heard)
    sender = launch("bell", ground.node("street"))
    letter = sealed(config, refused("knock"))
    for _ in range(2):
        keep(config, letter)
        box.retry(one(box))
    wait_until(lambda: ("knock", None) in heard)
    sender.transmit(event("after"))
    wait_until(lambda: ("after", None) in heard)
    assert heard == [("knock", None), ("after", None)]


def test_a_letter_that_was_kept_twice_is_one_letter(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    launch("door", ground.node("house"))
    letter = sealed(config, refused("knock"))
    keep(config, letter, letter)
    box.retry(one(box))
    assert box.list() == ()


def test_an_event_is_put_back_to_a_chart_that_is_away_and_waits_for_it(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    # Given a named chart that has stopped, as one whose handler is being corrected
    launch("door", ground.node("house")).stop()
    keep(config, refused("knock", "who is there?"))

    box.retry(one(box))

    heard = Heard()
    launch("door", ground.node("house"), heard)
    wait_until(lambda: heard == [("knock", "who is there?")])


def test_retried_to_a_topic_an_event_comes_to_all_that_listen_there(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    door, window = Heard(), Heard()
    launch("door", ground.node("house"), door)
    launch("window", ground.node("shed"), window, rx_routing_key="garden.#")
    keep(config, refused("knock", 7))

    box.retry(one(box), topic="garden.gate")

    wait_until(lambda: window == [("knock", 7)])
    assert door == []
    assert box.list() == ()


def test_a_letter_whose_chart_is_gone_stays_and_the_error_names_a_topic(
    config: MeshConfig, box: DeadLetters
) -> None:
    keep(config, refused("knock"))
    letter = one(box)

    with pytest.raises(UnroutableError, match="queue of chart door of node house is gone; .*topic"):
        box.retry(letter)
    with pytest.raises(UnroutableError, match="no queue of"):
        box.retry(letter, topic="heard.by.none")
    with pytest.raises(RoutingKeyError):
        box.retry(letter, topic="a.*")

    assert box.list() == (letter,)


def test_a_user_with_the_documented_permissions_may_put_back(
    vhost: str, rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    # Given a user who may use our names and no others, the default exchange neither
    user, ours = f"operator-{vhost}", r"^miros_mesh\."
    rabbitmq.add_user(user, "pass")
    rabbitmq.set_permissions(user, vhost, ours, ours, ours)
    url = f"amqp://{user}:pass@{HOST}:{rabbitmq.port}/{vhost}"
    config = MeshConfig(broker_url=url, mesh_encryption_key=KEY)
    heard = Heard()
    launch("door", config.overridden(node_name="house"), heard)
    keep(config, refused("knock", 1), refused("knock", 2, number=2))

    with DeadLetters(config) as letters:
        first, second = letters.list()
        letters.retry(first)
        # When a permission is taken away, the letter stays
        rabbitmq.set_permissions(user, vhost, ours, "^$", ours)
        wait_until(lambda: denied(letters, second))
        assert letters.list() == (second,)

    wait_until(lambda: heard == [("knock", 1)])
    rabbitmq.delete_user(user)


def denied(letters: DeadLetters, letter: Letter) -> bool:
    try:
        letters.retry(letter)
    except PermissionDeniedError:
        return True
    return False


def test_a_look_at_a_full_queue_drops_nothing(vhost_url: str) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    keep(config, *(refused(f"s{n}", number=n) for n in range(1, 1_001)))
    with DeadLetters(config) as letters:
        assert len(letters.list()) == 1_000
        # The oldest goes for a new one, and that alone.
        keep(config, refused("new"))
        assert [e.signal for e in letters.list()] == [*(f"s{n}" for n in range(2, 1_001)), "new"]


def test_what_a_broker_refused_goes_to_its_own_topic(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    heard = Heard()
    launch("door", ground.node("house"), heard)
    keep_here(config, refused("knock", 1, queue="", node="street", chart="bell"))

    box.retry(one(box))

    wait_until(lambda: heard == [("knock", 1)])
    assert box.list() == ()


def test_what_one_of_two_brokers_refused_goes_back_to_that_one_and_to_no_other(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path, launch: Launch
) -> None:
    # Given two brokers with a chart each, settings whose password is in a file, and the letters of
    # events of which one was refused by both brokers
    home, away = rabbitmq.url(vhost), rabbitmq.url(rabbitmq.new_vhost())
    at_home, there = Heard(), Heard()
    for url, heard in ((home, at_home), (away, there)):
        config = MeshConfig(
            broker_url=url, mesh_encryption_key=KEY, mesh_label="town", node_name="house"
        )
        launch("door", config, heard)
    file = tmp_path / "url"
    file.touch(0o600)
    file.write_text(home)
    config = MeshConfig(broker_url=SecretFile(file), mesh_encryption_key=KEY, mesh_label="town")
    peers = [BrokerAddress.parse(url).redacted for url in (home, away)]
    keep_here(
        config,
        refused("knock", 1, number=1, queue="", peer=peers[1]),
        refused("knock", 2, number=2, queue="", peer=peers[0]),
        refused("knock", 2, number=2, queue="", peer=peers[1]),
        refused("knock", 3, number=3, queue="", peer=peers[1]),
    )

    # When they are put back
    with DeadLetters(config) as box:
        assert [letter.peer for letter in box.list()] == [peers[n] for n in (1, 0, 1, 1)]
        box.retry(box.list()[0])
        assert not [each.error for each in box.retry_all() if each.error]

        # Then each broker has what it had refused, and nothing else
        assert box.list() == ()
    wait_until(lambda: (at_home.payloads, there.payloads) == ([2], [1, 2, 3]))
    for url, heard in ((home, at_home), (away, there)):
        config = MeshConfig(broker_url=url, mesh_encryption_key=KEY, mesh_label="town")
        launch("bell", config).transmit(event("last"))
        wait_until(lambda heard=heard: ("last", None) in heard)
    assert (len(at_home), len(there)) == (2, 4)


def test_a_broker_that_is_away_keeps_its_letters_and_holds_up_no_other(
    vhost_url: str, launch: Launch
) -> None:
    # Given letters of a broker that speaks no more, among those of another one
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    heard = Heard()
    launch("door", config.overridden(node_name="house"), heard)
    asked: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as mute, DeadLetters(config) as box:
        away = f"amqp://peter@{HOST}:{mute.getsockname()[1]}//"
        for number, peer in enumerate((away, "", away, ""), 1):
            keep_here(config, refused("knock", number, number=number, queue="", peer=peer))

        def hang_up() -> None:
            while len(asked) < 2:
                asked.append(mute.accept()[0])
                asked[-1].close()

        answering = threading.Thread(target=hang_up)
        answering.start()

        # When all are put back
        outcomes = list(box.retry_all())
        asked_once = len(asked) == 1
        socket.create_connection(mute.getsockname()).close()
        answering.join()

        # Then the other broker has its own, and the letters of this one stay, with the reason
        assert asked_once
        assert [each.error is None for each in outcomes] == [False, True, False, True]
        assert all(away.split("@")[1][:9] in str(e.error) for e in outcomes if e.error)
        assert [letter.peer for letter in box.list()] == [away, away]
        wait_until(lambda: heard.payloads == [2, 4])


def test_a_letter_of_a_broker_that_the_settings_do_not_lead_to_stays(
    vhost_url: str, launch: Launch
) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    heard = Heard()
    launch("door", config.overridden(node_name="house"), heard)
    keep_here(config, refused("knock", queue="", peer="embedded:/home/peter"))
    keep_here(config, refused("ring", queue=""))
    with DeadLetters(config) as box:
        letter, _ = box.list()
        with pytest.raises(AddressError, match="was refused by embedded:/home/peter"):
            box.retry(letter)
        assert [each.error is None for each in box.retry_all()] == [False, True]
        assert box.list() == (letter,)
    wait_until(lambda: heard == [("ring", None)])


def test_a_frame_that_did_not_open_goes_back_as_it_came(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    # Given a frame of a key that the chart had not
    heard = Heard()
    door = launch("door", ground.node("house"), heard)
    came = refused("knock", 1).event
    assert came
    frame = seal(config, came)
    keep(config, refused(event=None, frame=frame, reason="undecryptable"))

    # When it is put back, now that it has
    letter = one(box)
    assert (letter.content, letter.signal) == ("frame", "")
    with pytest.raises(EmptyLetterError, match="no event"):
        box.payload(letter)
    box.retry(letter)

    wait_until(lambda: heard == [("knock", 1)])
    assert door.name == "door"


def test_a_note_cannot_be_put_back_and_says_why(config: MeshConfig, box: DeadLetters) -> None:
    keep(config, refused(event=None, size_bytes=20_000_000, reason="oversize"))
    letter = one(box)
    assert letter.content == "note"
    with pytest.raises(EmptyLetterError, match="note of 20,000,000 bytes"):
        box.retry(letter)
    assert box.list() == (letter,)


def test_all_are_put_back_in_their_order_and_what_cannot_be_stays(
    ground: Ground, config: MeshConfig, box: DeadLetters, launch: Launch
) -> None:
    heard = Heard()
    launch("door", ground.node("house"), heard)
    keep(
        config,
        refused("knock", 1, number=1),
        refused("ring", 2, number=2),
        refused("knock", 3, chart="gone", number=3),
        refused("knock", 4, number=4),
    )

    outcomes = list(box.retry_all(signal="knock"))

    assert [type(each.error) for each in outcomes] == [type(None), UnroutableError, type(None)]
    wait_until(lambda: heard.payloads == [1, 4])
    assert [(e.signal, e.chart) for e in box.list()] == [("ring", "door"), ("knock", "gone")]


# Dropping


def test_what_is_dropped_is_gone_and_the_rest_stays_in_order(
    config: MeshConfig, box: DeadLetters
) -> None:
    keep(config, *(refused(f"s{n}", number=n) for n in range(1, 6)))
    keep_here(config, refused("here"))
    letters = box.list()

    box.drop(letters[2])
    box.drop(letters[5])
    with pytest.raises(UnknownLetterError, match="put back, dropped or pushed out"):
        box.drop(letters[2])

    assert signals(box) == ["s1", "s2", "s4", "s5"]
    assert [e.letter.signal for e in box.drop_all(signal="s[24]")] == ["s2", "s4"]
    assert signals(box) == ["s1", "s5"]


# Several at once, and none at all


def test_two_operators_at_once_lose_nothing(
    ground: Ground, config: MeshConfig, launch: Launch
) -> None:
    heard = Heard()
    launch("door", ground.node("house"), heard)
    numbers = list(range(1, 61))
    keep(config, *(refused("knock", n, number=n) for n in numbers))
    told: list[Outcome] = []
    # Embedded one waits for the other; so long, however slow the machine is.
    patient = config.overridden(confirm_timeout_s=300)

    def operate() -> None:
        with DeadLetters(patient) as letters:
            for _ in range(3):
                letters.list()
                told.extend(letters.retry_all())

    operators = [threading.Thread(target=operate) for _ in range(2)]
    for each in operators:
        each.start()
    for each in operators:
        each.join()

    with DeadLetters(config) as letters:
        told.extend(letters.retry_all())
        wait_until(lambda: sorted(heard.payloads) == numbers)
        assert letters.list() == ()
    assert not [each for each in told if each.error]
    assert len(told) == len(numbers)


def test_a_broker_that_is_not_there_is_an_error_and_what_is_here_can_be_seen() -> None:
    (port,) = free_ports(1)
    config = MeshConfig(
        broker_url=f"amqp://user:hush-4711@127.0.0.1:{port}/mesh", mesh_encryption_key=KEY
    )
    keep_here(config, refused("here", queue=""))
    with DeadLetters(config) as letters:
        with pytest.raises(BrokerUnreachableError) as raised:
            letters.list()
        (letter,) = letters.list(place="local")
        assert letters.find(letter.id) == letters.find(letter.id[:6]) == letter
        with pytest.raises(BrokerUnreachableError):
            letters.find("another")
        with pytest.raises(BrokerUnreachableError):
            letters.retry(letter)
        assert letters.list(place="local") == (letter,)
    assert "hush" not in str(raised.value)


def test_nothing_is_put_into_a_queue_of_another_program(
    config: MeshConfig, box: DeadLetters
) -> None:
    """A member, or who has its key, can write any name into a letter."""
    with connection(config) as made, made.channel() as channel:
        channel.queue_declare("payments", durable=True)
        keep(config, refused("knock", queue="payments"))

        with pytest.raises(UnroutableError, match="the queue payments is no chart's"):
            box.retry(one(box))

        assert channel.basic_get("payments") is None
    assert one(box).reason == "handler"
