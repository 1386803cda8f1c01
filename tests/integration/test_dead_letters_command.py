"""`miros-mesh dead-letters`, run as an operator runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from miros import Event
from msgspec.structs import replace

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.address import BrokerAddress
from miros_mesh.dead_letters.dead_letters import DeadLetters
from support.charts_at_work import KEY, OTHER_KEY, Heard, Launch, event
from support.dead_letters import keep, keep_here, refused
from support.rabbitmq_server import free_ports
from support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
END_LIMIT_S = 60.0


def run(*arguments: str, **environment: str) -> tuple[int, list[str], str]:
    """Run the command to its end: the exit code, the lines of the result, what was said beside."""
    done = subprocess.run(
        [COMMAND, "dead-letters", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr


def listed(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    code, lines, _ = run("list", "--json", *arguments, **environment)
    assert code == 0
    return [json.loads(line) for line in lines]


@pytest.fixture
def config() -> MeshConfig:
    """The settings that the command finds in the environment: the embedded broker."""
    return MeshConfig()


@pytest.fixture(params=["embedded", "rabbitmq"])
def at_home(request: pytest.FixtureRequest) -> tuple[MeshConfig, dict[str, str]]:
    """The settings of a mesh of each kind, and the environment in which the command has them."""
    if request.param == "embedded":
        return MeshConfig(), {}
    url = request.getfixturevalue("vhost_url")
    there = {"MIROS_MESH_BROKER_URL": url, "MIROS_MESH_ENCRYPTION_KEY": KEY.decode()}
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY), there


def test_each_action_explains_itself_to_a_stranger() -> None:
    for arguments, words in (
        (["--help"], ["list", "show ID", "retry ID", "sealed", "without its key"]),
        (["list", "--help"], ["--signal PATTERN", "--since WHEN", "Exit code 0"]),
        (["retry", "--help"], ["--to TOPIC", "--all", "comes back as a new"]),
        (["drop", "--help"], ["--yes", "for good"]),
        (["show", "--help"], ["payload", "--json"]),
    ):
        code, lines, said = run(*arguments)
        assert (code, said) == (0, "")
        shown = " ".join(" ".join(lines).split())
        assert not [word for word in words if word not in shown]


def test_nothing_refused_is_said_and_is_no_failure() -> None:
    assert run("list") == (0, [], "miros-mesh dead-letters: there are no dead letters\n")
    assert run("list", "--json")[:2] == (0, [])
    assert run("retry", "--all")[0] == 0
    code, _, said = run("show", "abc")
    assert code == 1
    assert "no dead letter 'abc'" in said


def test_a_list_has_a_line_for_each_letter_and_no_payload(config: MeshConfig) -> None:
    keep(config, refused("knock", "hush"), refused("ring", "hush", routing_key="garden"))
    away = "amqp://peter@192.0.2.7:5672/v"
    keep_here(config, refused("call", "hush", queue="", reason="message_size", peer=away))

    code, lines, said = run("list")

    assert (code, said, len(lines)) == (0, "", 4)
    assert lines[0].split() == [
        *("id", "set", "aside", "reason", "signal", "chart", "sender", "node", "topic"),
        *("bytes", "place", "peer"),
    ]
    assert [line.split()[4] for line in lines[1:]] == ["knock", "ring", "call"]
    assert [each["place"] for each in listed()] == ["broker", "broker", "local"]
    assert [each["signal"] for each in listed("--topic", "gard*")] == ["ring"]
    assert [each["signal"] for each in listed("--since", "1h", "--place", "local")] == ["call"]
    assert listed("--before", "1h") == []
    assert lines[3].split()[-2:] == ["local", away]
    assert [each["peer"] for each in listed()] == ["", "", away]
    assert [each["signal"] for each in listed("--peer", "*@192.0.2.7*")] == ["call"]


def test_a_table_fits_the_terminal(config: MeshConfig) -> None:
    keep(config, refused("s" * 60), refused("t" * 60, chart="c" * 60))
    screen = at_terminal("list", width=70)
    assert len(screen) == 3
    assert max(map(len, screen)) <= 70
    assert screen[1].endswith("…")


def at_terminal(*arguments: str, width: int, answer: str = "") -> list[str]:
    """Run the command at a terminal of its own; what was shown there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "dead-letters", *arguments],
        env={**os.environ, "COLUMNS": str(width)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as command:
        os.close(slave)
        os.write(master, answer.encode())
        shown = b""
        try:
            while part := os.read(master, 65_536):
                shown += part
        # Linux says so when the last one has closed the terminal.
        except OSError:
            pass
        command.wait(END_LIMIT_S)
    os.close(master)
    return shown.decode().replace("\r\n", "\n").splitlines()


def test_show_has_the_payload_with_the_key_and_harms_no_terminal(config: MeshConfig) -> None:
    keep(config, refused("knock\x1b[2J", {"name": "\x1b]0;owned\x07", "at": b"\x00"}))
    (letter,) = listed()

    code, lines, said = run("show", letter["id"][:6])

    assert (code, said) == (0, "")
    assert "signal        knock\\x1b[2J" in lines
    assert lines[-1] == r"{'at': b'\x00', 'name': '\x1b]0;owned\x07'}"
    code, lines, _ = run("show", letter["id"], "--json")
    assert json.loads(lines[0])["payload"] == {
        "name": "\x1b]0;owned\x07",
        "at": {"base64": "AA=="},
    }


def test_words_of_strangers_harm_no_terminal(config: MeshConfig, launch: Launch) -> None:
    # Given letters whose every word commands a terminal
    evil = "\x1b[2J\r\n\x9b31m\u202e\ud83d"
    words = {name: f"{name}{evil[:-1]}" for name in ("reason", "detail", "routing_key", "peer")}
    letter = refused(f"knock{evil[:-1]}", evil[:-1], chart=f"door{evil[:-1]}", **words)
    keep(config, letter)
    keep_here(config, letter)

    # When they are listed, shown, put back in vain and dropped
    ids = [each["id"] for each in listed()]
    actions = (["list"], ["list", "--json"], ["show", ids[0]], ["retry", "--all"])
    told = [run(*action) for action in (*actions, ["drop", *ids], ["show", evil[:-1]])]
    told.append((0, at_terminal("list", width=300), ""))

    # Then all of it is shown escaped, in lines of its own
    for _, lines, said in told:
        assert not [each for each in (*lines, *said.splitlines()) if not each.isprintable()]
    assert len(told[0][1]) == 3
    assert r"reason\x1b[2J\r\n\x9b31m\u202e" in told[0][1][1]
    assert any(r"detail\x1b[2J" in line for line in told[2][1])


def test_two_operators_at_once_send_each_letter_and_each_is_handled_once(
    at_home: tuple[MeshConfig, dict[str, str]], launch: Launch
) -> None:
    # Given letters in both places
    config, there = at_home
    heard = Heard()
    launch("door", config.overridden(node_name="house"), heard)
    numbers = list(range(1, 41))
    letters = [refused("knock", number, number=number) for number in numbers]
    keep(config, *letters[:20])
    keep_here(config, *(replace(each, queue="") for each in letters[20:]))

    # When two operators put all of them back in the same moment, until there are none
    with ThreadPoolExecutor(2) as operators:
        told = list(operators.map(lambda _: run("retry", "--all", **there), range(2)))
    while listed(**there):
        told.append(run("retry", "--all", **there))

    # Then each letter was sent, and its event handled once
    launch("bell", config.overridden(node_name="street")).transmit(event("last"))
    wait_until(lambda: ("last", None) in heard)
    wait_until(lambda: len(heard) > len(numbers))
    assert sorted(each for each in heard.payloads if each) == numbers
    sent = {line.split()[0] for _, lines, _ in told for line in lines}
    assert len(sent) == len(numbers)


def test_all_put_back_again_and_again_to_a_chart_that_goes_on_refusing_stay_as_many(
    at_home: tuple[MeshConfig, dict[str, str]], launch: Launch
) -> None:
    # Given a chart that refuses each event
    config, there = at_home
    tried: list[int] = []

    def refuse(_: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name == "knock":
            tried.append(event.payload)
            raise ZeroDivisionError

    launch("door", config.overridden(node_name="house"), refuse, on_handler_error="dead_letter")
    keep(config, *(refused("knock", number, number=number) for number in range(1, 4)))

    for times in range(1, 3):
        # When all are put back, the command ends, though each comes back meanwhile
        before = listed(**there)
        assert run("retry", "--all", **there)[0] == 0

        # Then there are as many new ones, of the same events
        wait_until(lambda: len(listed(**there)) == 3)
        after = listed(**there)
        assert not {each["id"] for each in before} & {each["id"] for each in after}
        assert sorted(tried) == sorted([1, 2, 3] * times)


def test_without_the_key_a_letter_is_shown_sealed(config: MeshConfig) -> None:
    keep(config, refused("knock", "hush"))
    other = {"MIROS_MESH_ENCRYPTION_KEY": OTHER_KEY.decode()}

    (letter,) = listed(**other)
    code, lines, said = run("show", letter["id"], **other)

    assert letter["content"] == "sealed"
    assert not letter["signal"]
    assert code == 1
    assert "no key of these settings opens" in said
    assert not [line for line in lines if "knock" in line]
    code, _, said = run("retry", letter["id"], **other)
    assert code == 1
    assert "stays: no key of these settings" in said
    assert len(listed()) == 1


def test_a_letter_is_sent_again_to_its_chart(config: MeshConfig, launch: Launch) -> None:
    heard = Heard()
    launch("door", MeshConfig(node_name="house"), heard)
    keep(config, refused("knock", 1), refused("ring", 2, number=2))
    knock, _ = listed()

    code, lines, said = run("retry", knock["id"][:8])

    assert (code, said) == (0, "")
    assert lines == [f"{knock['id']}  sent again: knock of door (handler)"]
    wait_until(lambda: heard == [("knock", 1)])
    assert [each["signal"] for each in listed()] == ["ring"]


def test_all_that_fit_are_sent_again_and_what_cannot_be_is_told(
    config: MeshConfig, launch: Launch
) -> None:
    heard = Heard()
    launch("door", MeshConfig(node_name="house"), heard)
    letters = [refused("knock", n, number=n) for n in range(1, 4)]
    keep(config, *letters, refused("ring"), refused("knock", chart="gone"))

    code, lines, said = run("retry", "--all", "--signal", "kn?ck")

    assert (code, len(lines)) == (1, 3)
    assert "stays: the queue of chart gone of node house is gone" in said
    assert "--to TOPIC" in said
    assert "3 of 4 letters sent again" in said
    wait_until(lambda: heard.payloads == [1, 2, 3])
    gone = next(each for each in listed() if each["chart"] == "gone")
    code, lines, _ = run("retry", gone["id"], "--to", "miros.mesh", "--json")
    assert (code, json.loads(lines[0])["done"]) == (0, True)
    wait_until(lambda: len(heard) == 4)


def test_drop_removes_what_it_names_and_asks_before_all(config: MeshConfig) -> None:
    keep(config, *(refused(f"s{n}", number=n) for n in range(1, 5)))
    first = listed()[0]

    assert run("drop", first["id"])[:2] == (
        0,
        [f"{first['id']}  dropped: s1 of door (handler)"],
    )
    code, _, said = run("drop", "--all")
    assert code == 2
    assert "--all needs --yes" in said
    assert (
        "Drop 3 letters for good? [y/N]" in at_terminal("drop", "--all", width=80, answer="n\n")[-1]
    )
    assert len(listed()) == 3
    shown = at_terminal("drop", "--all", "--signal", "s2", width=80, answer="y\n")
    assert "dropped: s2" in shown[-1]
    assert run("drop", "--all", "--yes", "--json")[0] == 0
    assert listed() == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["retry"], "name letters by their IDs, or take --all"),
        (["retry", "abc", "--all"], "name letters by their IDs, or take --all"),
        (["drop", "abc", "--signal", "x"], "filters go with --all"),
        (["list", "--signl", "x"], "did you mean --signal?"),
        (["list", "--place", "moon"], "invalid choice: 'moon'"),
        ([], "ACTION"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_meant(
    arguments: list[str], complaint: str
) -> None:
    code, lines, said = run(*arguments)
    assert (code, lines) == (2, [])
    assert complaint in said
    assert "usage: miros-mesh dead-letters" in said


def test_without_a_broker_what_is_kept_here_is_listed_and_the_rest_is_an_error() -> None:
    (port,) = free_ports(1)
    url = f"amqp://user:hush-4711@127.0.0.1:{port}/mesh"
    keep_here(MeshConfig(broker_url=url, mesh_encryption_key=KEY), refused("here", queue=""))
    there = {"MIROS_MESH_BROKER_URL": url, "MIROS_MESH_ENCRYPTION_KEY": KEY.decode()}

    code, lines, said = run("list", **there)

    assert code == 1
    assert "here" in lines[1]
    assert f"no answer from amqp://user@127.0.0.1:{port}" in said or "no answer from" in said
    assert len(listed("--place", "local", **there)) == 1


def test_a_letter_that_is_kept_here_needs_no_home_broker(vhost_url: str, launch: Launch) -> None:
    # Given letters that are kept here, one of them refused by a broker that is there
    (port,) = free_ports(1)
    away = BrokerAddress.parse(vhost_url).redacted
    home = vhost_url.rpartition("@")[0] + f"@127.0.0.1:{port}/mesh"
    config = MeshConfig(broker_url=home, mesh_encryption_key=KEY, mesh_label="town")
    heard = Heard()
    launch("door", config.overridden(broker_url=vhost_url, node_name="house"), heard)
    keep_here(config, refused("ring", 1, queue=""), refused("knock", 2, queue="", peer=away))
    there = {
        "MIROS_MESH_BROKER_URL": home,
        "MIROS_MESH_ENCRYPTION_KEY": KEY.decode(),
        "MIROS_MESH_MESH_LABEL": "town",
    }
    ring, knock = (each["id"] for each in listed("--place", "local", **there))

    # Then it is shown, put back and dropped while the home broker is away
    code, lines, said = run("show", knock[:8], **there)
    assert (code, lines[-1], said) == (0, "2", "")
    assert f"peer          {away}" in lines
    assert run("retry", knock, **there)[0] == 0
    wait_until(lambda: heard == [("knock", 2)])
    code, _, said = run("retry", ring, **there)
    assert code == 1
    assert f"{ring} stays: no answer from" in said
    assert run("drop", ring, **there)[0] == 0
    assert listed("--place", "local", **there) == []

    # And of one that is not here the broker is named
    for action in ("show", "retry", "drop"):
        code, _, said = run(action, ring, **there)
        assert code == 1
        assert "no answer from" in said


def test_it_works_on_a_rabbitmq(vhost_url: str, launch: Launch) -> None:
    there = {"MIROS_MESH_BROKER_URL": vhost_url, "MIROS_MESH_ENCRYPTION_KEY": KEY.decode()}
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    heard = Heard()
    launch("door", config.overridden(node_name="house"), heard)
    keep(config, refused("knock", 1), refused("ring", 2))

    assert run("retry", "--all", **there)[0] == 0

    wait_until(lambda: heard.payloads == [1, 2])
    with DeadLetters(config) as letters:
        assert letters.list() == ()
