"""MeshConfig: one value that is whole, or one error that names every problem."""

from __future__ import annotations

import base64
import traceback
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.address import BrokerAddress
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ConfigError
from miros_mesh.observer import Observer
from miros_mesh.timing.clock import SystemClock
from miros_mesh.wire.serializer import PayloadSerializer

SENTINEL = "-".join(("marmalade", "in", "the", "attic"))


def key_of(number: int) -> bytes:
    """Return a Fernet key that is the same in every run."""
    return base64.urlsafe_b64encode(bytes([number]) * 32)


KEY, OLD_KEY, SPY_KEY = key_of(1), key_of(2), key_of(3)


class Reversed:
    """A payload serializer of somebody's own."""

    name = "reversed"

    def dumps(self, payload: Any) -> bytes:
        return bytes(reversed(payload))

    def loads(self, data: bytes) -> Any:
        return bytes(reversed(data))


class Point(NamedTuple):
    x: int


REVERSED = Reversed()


def problems_of(**settings: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        MeshConfig(**settings)
    return caught.value.problems


def test_no_settings_at_all_choose_the_embedded_broker() -> None:
    config = MeshConfig()
    assert config.mode == "embedded"
    assert config.brokers == ()
    assert config.keys_for("mesh") is None


def test_a_user_and_a_password_choose_a_broker_on_this_host() -> None:
    config = MeshConfig(rabbit_user="peter", rabbit_password="rabbit", mesh_encryption_key=KEY)
    assert config.mode == "ancestor"
    assert config.brokers == (
        BrokerAddress("amqp", "127.0.0.1", 5672, "/", user="peter", password="rabbit"),
    )


@pytest.mark.parametrize(
    "broker_url",
    [
        "amqp://u:p@a, amqps://u:p@b",
        "amqp://u:p@a;amqps://u:p@b\n",
        "amqp://u:p@a amqps://u:p@b",
        ("amqp://u:p@a", "amqps://u:p@b"),
        ["amqp://u:p@a:5672//", "amqps://u:p@B/"],
    ],
)
def test_several_urls_are_one_shared_broker_in_any_form(broker_url: Any) -> None:
    config = MeshConfig(broker_url=broker_url, mesh_encryption_key=KEY)
    assert config.mode == "shared"
    assert [address.redacted for address in config.brokers] == [
        "amqp://u@a:5672//",
        "amqps://u@b:5671//",
    ]
    tidy = MeshConfig(broker_url="amqp://u:p@a,amqps://u:p@b", mesh_encryption_key=KEY)
    assert config == tidy
    assert hash(config) == hash(tidy)


def test_a_comma_in_a_password_does_not_split_a_url() -> None:
    config = MeshConfig(broker_url="amqp://u:p,q;r@h", mesh_encryption_key=KEY)
    assert [address.password for address in config.brokers] == ["p,q;r"]


@pytest.mark.parametrize(
    "keys",
    [
        (KEY, OLD_KEY),
        [KEY, OLD_KEY.decode()],
        KEY + b"," + OLD_KEY,
        f"{KEY.decode()}, {OLD_KEY.decode()}\n",
    ],
)
def test_keys_keep_their_order_in_any_form(keys: Any) -> None:
    assert MeshConfig(mesh_encryption_key=keys).keys_for("mesh") == (KEY, OLD_KEY)


def test_a_snoop_network_uses_the_mesh_key_unless_it_has_its_own() -> None:
    config = MeshConfig(mesh_encryption_key=KEY, snoop_spy_encryption_key=SPY_KEY)
    assert config.keys_for("mesh") == (KEY,)
    assert config.keys_for("snoop_trace") == (KEY,)
    assert config.keys_for("snoop_spy") == (SPY_KEY,)


@given(st.binary(min_size=32, max_size=32))
def test_every_fernet_key_is_accepted(raw: bytes) -> None:
    key = base64.urlsafe_b64encode(raw)
    assert MeshConfig(mesh_encryption_key=key).keys_for("mesh") == (key,)


@given(st.binary(max_size=64).filter(lambda raw: len(raw) != 32))
def test_a_key_of_another_length_is_refused(raw: bytes) -> None:
    (problem,) = problems_of(mesh_encryption_key=base64.urlsafe_b64encode(raw))
    assert problem == (
        "mesh_encryption_key is not a Fernet key (44 url-safe base64 characters); "
        "make one with: miros-mesh keygen"
    )


@pytest.mark.parametrize("setting", ["mesh_encryption_key", "snoop_trace_encryption_key"])
@pytest.mark.parametrize("keys", ["", b"", (), 7, KEY[:-1], b"+" + KEY[1:], KEY + b"=", (KEY, 7)])
def test_a_key_that_is_no_fernet_key_is_refused_by_the_name_of_its_setting(
    setting: str, keys: Any
) -> None:
    (problem,) = problems_of(**{setting: keys})
    assert problem.startswith(setting)
    assert "miros-mesh keygen" in problem


def test_the_bad_one_of_several_values_is_counted_out() -> None:
    (problem,) = problems_of(mesh_encryption_key=(KEY, b"bad"))
    assert problem.startswith("mesh_encryption_key (number 2 of 2) is not")
    (problem,) = problems_of(broker_url="amqp://a,amqp://b:0", mesh_encryption_key=KEY)
    assert problem.startswith("broker_url (number 2 of 2): ")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"broker_url": ""}, "broker_url: the broker URL begins with neither"),
        ({"broker_url": ()}, "broker_url must be an amqp:// or amqps:// URL"),
        ({"broker_url": 7}, "broker_url must be an amqp:// or amqps:// URL"),
        ({"broker_url": (7,)}, "broker_url: the broker URL must be a str, not int"),
        ({"broker_url": "http://h"}, "broker_url: the broker URL begins with neither"),
        ({"broker_url": "amqp://h", "rabbit_user": "u"}, "excludes rabbit_user"),
        ({"broker_url": "amqp://h", "rabbit_password": "p"}, "excludes rabbit_user"),
        ({"rabbit_user": "u"}, "rabbit_user is given without rabbit_password"),
        ({"rabbit_password": "p"}, "rabbit_password is given without rabbit_user"),
        ({"rabbit_user": "", "rabbit_password": "p"}, "rabbit_user is empty"),
        ({"rabbit_user": "u", "rabbit_password": ""}, "rabbit_password is empty"),
        ({"rabbit_user": 7, "rabbit_password": "p"}, "rabbit_user must be a str, not of type int"),
        ({"rabbit_user": "u", "rabbit_password": "p", "rabbit_host": "a b"}, "rabbit_host with"),
        ({"rabbit_user": "u", "rabbit_password": "p", "rabbit_port": 0}, "rabbit_port is 0"),
        ({"rabbit_host": None}, "rabbit_host must be a str"),
        ({"rabbit_virtual_host": ""}, "rabbit_virtual_host is empty"),
        ({"node_name": ""}, "node_name must be 1 to 64 characters"),
        ({"node_name": "a b"}, "node_name must be 1 to 64 characters"),
        ({"node_name": "n" * 65}, "node_name must be 1 to 64 characters"),
        ({"node_name": "n\n"}, "node_name must be 1 to 64 characters"),
        ({"home": "relative/folder"}, "home must be an absolute path"),
        ({"home": ""}, "home must be a path"),
        ({"home": "/a\0b"}, "home holds a character that no path can"),
        ({"broker_ca_file": "/a\0b"}, "broker_ca_file holds a character that no path can"),
        ({"home": 7}, "home must be a path"),
        ({"max_event_bytes": 2048, "outbox_bytes": 1024}, "max_event_bytes is larger than"),
        ({"payload_types": Point}, "payload_types must be a tuple of classes"),
        ({"payload_types": ("Point",)}, "payload_types must be a tuple of classes"),
        ({"payload_types": (int,)}, "payload_types: int is neither a class of named tuples nor"),
        (
            {"payload_types": (Point, type("Point", (Point,), {}))},
            "payload_types has 2 classes called Point, the name that they would have on the wire",
        ),
        (
            {"payload_types": (Point,), "serializer": REVERSED},
            "payload_types is for the built-in serializer",
        ),
        ({"payloads": Point}, "payloads must be a mapping from the names of signals to types"),
        ({"payloads": {"": Point}}, "payloads: each signal must be a str that is not empty"),
        ({"payloads": {"a": complex}}, "payloads: a: complex holds at $ a complex, which cannot"),
        (
            {"payloads": {"a": KEY.decode()}},
            "payloads: the type of signal 1 must be a",
        ),
        ({"serializer": object()}, "serializer must have a name"),
        ({"observers": Observer()}, "observers must be a tuple"),
        ({"observers": [object()]}, "observers must be a tuple"),
        ({"link_factory": "embedded"}, "link_factory must be callable"),
        ({"clock": 12.0}, "clock must have monotonic"),
        ({"clock": SystemClock}, "clock must have monotonic"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    settings: dict[str, Any], words: str
) -> None:
    (problem,) = problems_of(**({"mesh_encryption_key": KEY} | settings))
    assert words in problem


def test_what_cannot_be_hashed_cannot_be_a_setting() -> None:
    class Unhashable(Reversed):
        __hash__ = None  # type: ignore[assignment]

    class UnhashableObserver(Observer):
        __hash__ = None  # type: ignore[assignment]

    class UnhashableClock(SystemClock):
        __hash__ = None  # type: ignore[assignment]

    problems = problems_of(
        serializer=Unhashable(),
        observers=(UnhashableObserver(),),
        clock=UnhashableClock("unhashable"),
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "serializer must be hashable",
        "observers must be hashable",
        "clock must be hashable",
    ]


@pytest.mark.parametrize(
    "settings", [{"broker_url": "amqp://h"}, {"rabbit_user": "u", "rabbit_password": "p"}]
)
def test_a_broker_needs_a_mesh_key(settings: dict[str, Any]) -> None:
    (problem,) = problems_of(**settings)
    assert problem.startswith("mesh_encryption_key is missing")
    assert problem.endswith("make one with: miros-mesh keygen")


NUMBERS = {f.name: f for f in fields(MeshConfig) if "range" in f.metadata}
OPTIONAL = {"queue_expires_s", "rabbit_port"}


def test_every_number_has_a_range_that_holds_its_default() -> None:
    numbers = {f.name for f in fields(MeshConfig) if type(f.default) in (int, float)}
    assert numbers == set(NUMBERS) - OPTIONAL
    for name in numbers:
        low, high = NUMBERS[name].metadata["range"]
        assert low <= NUMBERS[name].default <= high


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_a_number_that_may_be_left_out_has_no_default(name: str) -> None:
    assert NUMBERS[name].default is None
    assert getattr(MeshConfig(**{name: None}), name) is None


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, 10**15, float("nan"), float("inf"), True, "5", []])
def test_a_number_out_of_its_range_or_of_another_type_is_refused(name: str, value: Any) -> None:
    problem, *_ = problems_of(**{name: value})
    assert problem.startswith(name)
    assert "number" in problem


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - OPTIONAL))
def test_a_number_that_is_needed_cannot_be_none(name: str) -> None:
    problem, *_ = problems_of(**{name: None})
    assert problem.startswith(name)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_each_range_are_accepted(name: str) -> None:
    low, high = NUMBERS[name].metadata["range"]
    for end in (low, high):
        room = {"outbox_bytes": 2**30} if name == "max_event_bytes" else {}
        tight = {"max_event_bytes": 1} if name == "outbox_bytes" else {}
        like = high if name in OPTIONAL else NUMBERS[name].default
        number = int(end) if isinstance(like, int) else float(end)
        assert getattr(MeshConfig(**{name: number}, **room, **tight), name) == number


def on_each_host(**settings: Any) -> MeshConfig:
    return MeshConfig(rabbit_user="u", rabbit_password="p", mesh_encryption_key=KEY, **settings)


def test_a_broker_on_each_host_is_reached_by_tls_when_that_is_asked_for() -> None:
    shown = [
        str(on_each_host(**given).brokers[0])
        for given in ({}, {"rabbit_tls": True}, {"rabbit_tls": True, "rabbit_port": 5999})
    ]
    assert shown == [
        "amqp://u@127.0.0.1:5672//",
        "amqps://u@127.0.0.1:5671//",
        "amqps://u@127.0.0.1:5999//",
    ]


def test_a_port_that_is_the_default_one_may_be_given_or_left_out() -> None:
    assert on_each_host(rabbit_port=5672) == on_each_host()
    assert on_each_host(rabbit_port=5671, rabbit_tls=True) == on_each_host(rabbit_tls=True)
    assert on_each_host(rabbit_port=5672, rabbit_tls=True) != on_each_host(rabbit_tls=True)


def test_a_file_of_authorities_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = on_each_host(rabbit_tls=True, broker_ca_file="ca.pem")
    assert config.broker_ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "settings",
    [
        {"broker_url": "amqp://u:p@h"},
        {"rabbit_user": "u", "rabbit_password": "p"},
    ],
)
def test_a_file_for_tls_without_tls_is_a_mistake(settings: dict[str, Any]) -> None:
    [problem] = problems_of(mesh_encryption_key=KEY, broker_ca_file="/x/ca.pem", **settings)
    assert "broker_ca_file is given, and no broker is reached by TLS" in problem


def test_a_key_without_its_certificate_is_a_mistake() -> None:
    url = "amqps://u:p@h"
    [problem] = problems_of(mesh_encryption_key=KEY, broker_url=url, broker_key_file="/x/key")
    assert problem.startswith("broker_key_file is given without broker_cert_file")


def test_a_certificate_says_the_user_where_a_url_with_tls_has_none() -> None:
    urls = ("amqps://h/v", "amqps://u:p@h/v", "amqp://h/v")
    config = MeshConfig(mesh_encryption_key=KEY, broker_url=urls, broker_cert_file="/x/node.pem")
    assert [str(each) for each in config.brokers] == [
        "amqps://h:5671/v",
        "amqps://u@h:5671/v",
        "amqp://guest@h:5672/v",
    ]


def test_tls_of_a_broker_url_is_in_the_url() -> None:
    url = "amqps://u:p@h"
    [problem] = problems_of(mesh_encryption_key=KEY, broker_url=url, rabbit_tls=True)
    assert problem.startswith("rabbit_tls belongs to rabbit_user")
    # But a URL replaces all of a weaker choice
    config = on_each_host(rabbit_tls=True).overridden(broker_url="amqp://h")
    assert [str(each) for each in config.brokers] == ["amqp://guest@h:5672//"]


@pytest.mark.parametrize("value", ["disk", None, True, ("power",)])
def test_another_durability_is_refused(value: Any) -> None:
    assert problems_of(durability=value) == ("durability must be one of process, power",)


def test_every_problem_is_told_at_once() -> None:
    problems = problems_of(
        broker_url="http://h",
        rabbit_user="u",
        mesh_encryption_key="no key",
        node_name="a b",
        heartbeat_interval_s=0,
        observers=3,
    )
    told = [problem.replace(":", " ").split()[0] for problem in problems]
    assert sorted(set(told)) == [
        "broker_url",
        "heartbeat_interval_s",
        "mesh_encryption_key",
        "node_name",
        "observers",
    ]


def test_settings_cannot_be_changed_and_take_keywords_only() -> None:
    with pytest.raises(FrozenInstanceError):
        MeshConfig().node_name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        MeshConfig("amqp://h")  # type: ignore[call-arg, arg-type]


def test_equal_settings_are_one_key_of_a_dictionary() -> None:
    observer, serializer = Observer(), Reversed()
    first, second = (
        MeshConfig(
            broker_url="amqp://u:p@h",
            mesh_encryption_key=key,
            observers=observers,
            serializer=serializer,
            home=home,
        )
        for key, observers, home in [
            (KEY, (observer,), Path("/x")),
            (KEY.decode(), [observer], "/x"),  # type: ignore[arg-type]
        ]
    )
    assert {first: "node"}[second] == "node"
    assert first != replace(first, snoop_spy_encryption_key=SPY_KEY)
    assert first != replace(first, broker_url="amqp://u:q@h")


def test_a_shared_broker_is_not_the_same_as_the_broker_of_this_host() -> None:
    url = "amqp://u:p@127.0.0.1"
    own = MeshConfig(rabbit_user="u", rabbit_password="p", mesh_encryption_key=KEY)
    shared = MeshConfig(broker_url=url, mesh_encryption_key=KEY)
    assert own.brokers == shared.brokers
    assert own != shared


def test_the_order_of_payload_types_makes_no_difference() -> None:
    class Area(NamedTuple):
        corner: Point

    first = MeshConfig(payload_types=[Point, Area])  # type: ignore[arg-type]

    assert {first: "node"}[MeshConfig(payload_types=(Area, Point))] == "node"
    assert first != MeshConfig(payload_types=(Point,))


def test_payloads_are_kept_as_they_were_given() -> None:
    given = {"b": list[Point], "a": Point}
    config = MeshConfig(payloads=given)
    given.clear()

    assert config.payloads == {"a": Point, "b": list[Point]}
    assert {config: "node"}[MeshConfig(payloads={"a": Point, "b": list[Point]})] == "node"
    assert config.overridden(node_name="n").payloads == config.payloads
    assert MeshConfig.from_env({}, payloads={"a": Point}).payloads == {"a": Point}
    assert MeshConfig().payloads == {}


def test_overrides_that_are_none_are_not_given() -> None:
    config = MeshConfig(node_name="n", mesh_encryption_key=KEY)
    assert config.overridden(node_name=None, mesh_encryption_key=None) == config
    assert config.overridden(node_name="m").node_name == "m"


def test_an_overriding_choice_of_broker_replaces_the_other_one() -> None:
    shared = MeshConfig(broker_url="amqp://h", mesh_encryption_key=KEY)
    own = shared.overridden(rabbit_user="u", rabbit_password="p")
    assert own.mode == "ancestor"
    assert own.overridden(broker_url="amqp://h") == shared


def test_an_unknown_setting_is_a_type_error_as_with_any_function() -> None:
    with pytest.raises(TypeError, match="rabit_user"):
        MeshConfig().overridden(rabit_user="u")


def test_a_serializer_of_ones_own_needs_a_name_and_two_methods() -> None:
    serializer = Reversed()
    assert isinstance(serializer, PayloadSerializer)
    assert MeshConfig(serializer=serializer).serializer is serializer


def test_the_home_folder_is_found_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = MeshConfig()
    monkeypatch.delenv("MIROS_MESH_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.home_folder == tmp_path / ".local/state/miros_mesh"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert config.home_folder == tmp_path / ".local/state/miros_mesh"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config.home_folder == tmp_path / "state/miros_mesh"
    monkeypatch.setenv("MIROS_MESH_HOME", "~/mesh")
    assert config.home_folder == tmp_path / "mesh"
    assert MeshConfig(home=Path("~/own")).home_folder == tmp_path / "own"


def test_a_relative_home_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIROS_MESH_HOME", "mesh")
    with pytest.raises(ConfigError, match="MIROS_MESH_HOME must be an absolute path"):
        _ = MeshConfig().home_folder


def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set MIROS_MESH_HOME"):
        _ = MeshConfig(home=Path("~no-such-user-here/mesh")).home_folder


def test_no_secret_is_shown_by_settings_that_work() -> None:
    secrets = [SENTINEL, KEY.decode(), OLD_KEY.decode(), SPY_KEY.decode()]
    keys = {"mesh_encryption_key": (KEY, OLD_KEY), "snoop_spy_encryption_key": SPY_KEY}
    for config in (
        MeshConfig(broker_url=f"amqp://peter:{SENTINEL}@h", **keys),  # type: ignore[arg-type]
        MeshConfig(rabbit_user="peter", rabbit_password=SENTINEL, **keys),  # type: ignore[arg-type]
    ):
        shown = f"{config} {config!r} {config.brokers} {[config]!r}"
        assert "peter" in shown
        assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("setting", [f.name for f in fields(MeshConfig) if f.init])
@pytest.mark.parametrize(
    "form",
    [
        str,
        str.encode,
        lambda secret: (secret, secret),
        lambda secret: [f"amqp://peter:{secret}/@h"],
        lambda secret: f"amqp://peter:{secret}\u2100@h:x",
        lambda secret: {secret: secret},
    ],
)
def test_no_secret_is_shown_wherever_it_was_put_by_mistake(setting: str, form: Any) -> None:
    settings = {"node_name": "not valid", setting: form(SENTINEL)}
    try:
        shown = repr(MeshConfig(**settings))
    except ConfigError as error:
        lines = traceback.format_exception(error)
        shown = f"{''.join(lines)} {error!r} {error.problems} {error.args}"
    if setting not in {"rabbit_user", "rabbit_host", "rabbit_virtual_host", "home", "node_name"}:
        assert SENTINEL not in shown
    assert SENTINEL not in shown.partition("attention")[2]


ANCESTOR = {"rabbit_user": "peter", "rabbit_password": "rabbit", "mesh_encryption_key": KEY}
SHARED = {"broker_url": "amqp://u:p@a", "mesh_encryption_key": KEY}


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ({}, ()),
        (SHARED, ()),
        (ANCESTOR, ("manual", "lan")),
        ({**ANCESTOR, "discovery": "off"}, ()),
        ({**ANCESTOR, "discovery": ()}, ()),
        ({**ANCESTOR, "discovery": ["manual"]}, ("manual",)),
        ({**SHARED, "discovery": "dns manual", "discovery_dns_names": "a, b"}, ("dns", "manual")),
        ({**ANCESTOR, "link_factory": id}, ()),
    ],
)
def test_only_a_broker_for_each_host_is_searched_for_unasked(
    settings: dict[str, Any], sources: tuple[str, ...]
) -> None:
    assert MeshConfig(**settings).discovery_sources == sources


def test_a_default_follows_the_broker_that_a_chart_chooses() -> None:
    assert MeshConfig().overridden(**ANCESTOR).discovery_sources == ("manual", "lan")
    assert MeshConfig(**ANCESTOR).overridden(broker_url="amqp://u:p@a").discovery_sources == ()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"discovery": "manual"}, "discovery needs a RabbitMQ"),
        ({**ANCESTOR, "discovery": "ping"}, "discovery must be some of manual, lan, dns, or off"),
        ({**ANCESTOR, "discovery": 7}, "discovery must be some of manual, lan, dns, or off"),
        ({**ANCESTOR, "discovery": "lan lan"}, "discovery names a source twice"),
        ({**ANCESTOR, "discovery": "dns"}, "discovery_dns_names names nothing"),
        ({**ANCESTOR, "discovery_dns_names": "a"}, "dns is not in discovery"),
        (
            {**ANCESTOR, "discovery": "dns", "discovery_dns_names": "amqp://u:p@a"},
            "discovery_dns_names must be host names",
        ),
        ({**ANCESTOR, "discovery_hosts_file": 1}, "discovery_hosts_file must be a path"),
        (
            {**ANCESTOR, "discovery_cache_file": "~nobody.here/x"},
            "discovery_cache_file begins with",
        ),
        ({**ANCESTOR, "discovery_cache_file": 1}, "discovery_cache_file must be a path"),
        ({**ANCESTOR, "discovery_ipv6": "on"}, "discovery_ipv6 must be True or False"),
        ({**ANCESTOR, "alien_policy": "shoot"}, "alien_policy must be one of adopt, probe, ignore"),
        ({**ANCESTOR, "first_search_wait": True}, "first_search_wait must be one of hold, skip"),
        ({**ANCESTOR, "peer_forget_after_s": 0}, "peer_forget_after_s is 0"),
    ],
)
def test_what_discovery_cannot_do_is_told(settings: dict[str, Any], problem: str) -> None:
    [told] = problems_of(**settings)
    assert problem in told


def test_ancestors_are_at_a_rabbitmq_and_nowhere_else() -> None:
    assert MeshConfig().ancestors == "off"
    ours: dict[str, Any] = {"broker_url": "amqp://h", "mesh_encryption_key": KEY}
    assert MeshConfig(**ours, ancestors="both").ancestors == "both"
    for settings in ({}, {**ours, "link_factory": dict}):
        for word in ("hear", "both"):
            with pytest.raises(ConfigError, match="ancestors needs a RabbitMQ"):
                MeshConfig(**settings, ancestors=word)
        assert MeshConfig(**settings, ancestors="off").ancestors == "off"


def test_ancestors_cannot_sign_and_so_are_on_no_list() -> None:
    with pytest.raises(ConfigError, match="allowed_nodes"):
        MeshConfig(
            broker_url="amqp://h",
            mesh_encryption_key=KEY,
            ancestors="hear",
            allowed_nodes={"n": None},
        )


def test_a_misspelt_word_for_ancestors_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="ancestors must be one of off, hear, both"):
        MeshConfig(ancestors="yes")
