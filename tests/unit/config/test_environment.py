"""MeshConfig.from_env: settings from variables, and messages that name the variables."""

from __future__ import annotations

import base64
import json
import traceback
from dataclasses import fields
from errno import ENOENT
from os import strerror
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ConfigError
from miros_mesh.wire.signing import Signer, generate_identity

SENTINEL = "-".join(("marmalade", "in", "the", "attic"))
KEY, OLD_KEY = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))
IDENTITY = generate_identity().decode()
PUBLIC_KEY = Signer("n", IDENTITY.encode()).public_key
SECRETS = [
    "BROKER_URL",
    "RABBIT_PASSWORD",
    "MESH_ENCRYPTION_KEY",
    "ENCRYPTION_KEY",
    "SNOOP_TRACE_ENCRYPTION_KEY",
    "SNOOP_SPY_ENCRYPTION_KEY",
]


def problems_of(environ: dict[str, str], **overrides: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        MeshConfig.from_env(environ, **overrides)
    return caught.value.problems


def test_an_environment_that_says_nothing_gives_the_defaults() -> None:
    assert MeshConfig.from_env({"PATH": "/bin", "LANG": "C"}) == MeshConfig()


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIROS_MESH_NODE_NAME", "from-the-process")
    assert MeshConfig.from_env().node_name == "from-the-process"


def test_every_scalar_setting_has_a_variable() -> None:
    values = {
        "MIROS_MESH_RABBIT_USER": "peter",
        "MIROS_MESH_RABBIT_PASSWORD": "rabbit",
        "MIROS_MESH_RABBIT_HOST": "h",
        "MIROS_MESH_RABBIT_VIRTUAL_HOST": "v",
        "MIROS_MESH_RABBIT_TLS": "on",
        "MIROS_MESH_BROKER_CA_FILE": "/x/ca.pem",
        "MIROS_MESH_BROKER_CERT_FILE": "/x/node.pem",
        "MIROS_MESH_BROKER_KEY_FILE": "/x/node.key",
        "MIROS_MESH_MESH_ENCRYPTION_KEY": KEY,
        "MIROS_MESH_SNOOP_TRACE_ENCRYPTION_KEY": KEY,
        "MIROS_MESH_SNOOP_SPY_ENCRYPTION_KEY": OLD_KEY,
        "MIROS_MESH_NODE_NAME": "n",
        "MIROS_MESH_HOME": "/x",
        "MIROS_MESH_DISCOVERY": "manual, dns",
        "MIROS_MESH_DISCOVERY_HOSTS_FILE": "/x/hosts.json",
        "MIROS_MESH_DISCOVERY_CACHE_FILE": "/x/cache.json",
        "MIROS_MESH_DISCOVERY_DNS_NAMES": "rabbit.mesh, _amqp._tcp.mesh",
        "MIROS_MESH_TELL_NO_LISTENER": "on",
        "MIROS_MESH_TELL_CHARTS": "on",
        "MIROS_MESH_DISCOVERY_IPV6": "on",
        "MIROS_MESH_DISCOVERY_LIVE_TRACE": "on",
        "MIROS_MESH_DISCOVERY_LIVE_SPY": "on",
        "MIROS_MESH_ALIEN_POLICY": "probe",
        "MIROS_MESH_FIRST_SEARCH_WAIT": "block",
        "MIROS_MESH_MESH_LABEL": "shop",
        "MIROS_MESH_OLD_FRAMES": "read",
        "MIROS_MESH_CIPHER": "fernet",
        "MIROS_MESH_NODE_IDENTITY": IDENTITY,
        "MIROS_MESH_ALLOWED_NODES": json.dumps({"n": {"public_keys": [PUBLIC_KEY]}}),
        "MIROS_MESH_DURABILITY": "power",
        # What is on would exclude the allowed nodes.
        "MIROS_MESH_ANCESTORS": "off",
    }
    numbers = {
        f.name: type(f.metadata["range"][1])(99.5) if f.default is None else f.default + 1
        for f in fields(MeshConfig)
        if "range" in f.metadata
    }
    values |= {f"MIROS_MESH_{name.upper()}": f" {value} " for name, value in numbers.items()}
    config = MeshConfig.from_env(values)
    assert {name: getattr(config, name) for name in numbers} == numbers
    assert [broker.redacted for broker in config.brokers] == ["amqps://peter@h:99/v"]
    assert config.broker_ca_file == Path("/x/ca.pem")
    assert config.broker_cert_file == Path("/x/node.pem")
    assert config.broker_key_file == Path("/x/node.key")
    assert config.home == Path("/x")
    assert config.discovery_sources == ("manual", "dns")
    assert config.discovery_hosts_file == Path("/x/hosts.json")
    assert config.discovery_cache_file == Path("/x/cache.json")
    assert config.discovery_dns_names == ("rabbit.mesh", "_amqp._tcp.mesh")
    assert (config.discovery_ipv6, config.alien_policy) == (True, "probe")
    assert (config.tell_no_listener, config.tell_charts) == (True, True)
    assert config.first_search_wait == "block"
    assert (config.durability, config.ancestors) == ("power", "off")
    assert (config.discovery_live_trace, config.discovery_live_spy) == (True, True)
    assert (config.label, config.old_frames, config.cipher) == ("shop", "read", "fernet")
    assert config.keys_for("snoop_spy") == (OLD_KEY.encode(),)
    signer, members = config.signer(), config.members()
    assert signer is not None
    assert members is not None
    assert members.has_key("n", signer.mark)
    objects = {"payload_types", "payloads", "serializer", "observers", "link_factory", "clock"}
    scalars = {f.name for f in fields(MeshConfig) if f.init} - objects
    assert {name.removeprefix("MIROS_MESH_").lower() for name in values} == scalars - {"broker_url"}


def test_the_ancestors_variables_are_understood() -> None:
    config = MeshConfig.from_env(
        {
            "RABBIT_USER": "peter",
            "RABBIT_PASSWORD": "rabbit",
            "RABBIT_PORT": "5673",
            "RABBIT_HEARTBEAT_INTERVAL": "3600",
            "CONNECTION_ATTEMPTS": "7",
            "MESH_ENCRYPTION_KEY": KEY,
            "SNOOP_TRACE_ENCRYPTION_KEY": OLD_KEY,
            "SNOOP_SPY_ENCRYPTION_KEY": OLD_KEY,
        }
    )
    assert config == MeshConfig(
        rabbit_user="peter",
        rabbit_password="rabbit",
        rabbit_port=5673,
        heartbeat_interval_s=3600,
        connection_attempts=7,
        mesh_encryption_key=KEY,
        snoop_trace_encryption_key=OLD_KEY,
        snoop_spy_encryption_key=OLD_KEY,
    )


def test_overrides_win_over_own_variables_and_those_over_the_ancestors() -> None:
    environ = {"RABBIT_PORT": "1", "MIROS_MESH_RABBIT_PORT": "2"}
    assert MeshConfig.from_env({"RABBIT_PORT": "1"}).rabbit_port == 1
    assert MeshConfig.from_env(environ).rabbit_port == 2
    assert MeshConfig.from_env(environ, rabbit_port=3).rabbit_port == 3
    assert MeshConfig.from_env(environ, rabbit_port=None).rabbit_port == 2


def test_a_variable_that_an_override_replaces_is_not_read() -> None:
    assert MeshConfig.from_env({"RABBIT_PORT": "x"}, rabbit_port=3).rabbit_port == 3


def test_a_variable_that_a_stronger_one_replaces_is_not_read() -> None:
    environ = {"CONNECTION_ATTEMPTS": "x", "MIROS_MESH_CONNECTION_ATTEMPTS": "2"}
    assert MeshConfig.from_env(environ).connection_attempts == 2


def test_a_stronger_choice_of_broker_replaces_a_weaker_one() -> None:
    environ = {"RABBIT_USER": "u", "RABBIT_PASSWORD": "p", "MESH_ENCRYPTION_KEY": KEY}
    assert MeshConfig.from_env(environ).mode == "ancestor"
    environ["MIROS_MESH_BROKER_URL"] = "amqp://h"
    assert MeshConfig.from_env(environ).mode == "shared"
    own = MeshConfig.from_env(environ, rabbit_user="a", rabbit_password="b")
    assert [broker.redacted for broker in own.brokers] == ["amqp://a@127.0.0.1:5672//"]


def test_the_short_name_of_the_mesh_key_is_enough() -> None:
    assert MeshConfig.from_env({"MIROS_MESH_ENCRYPTION_KEY": KEY}).keys_for("mesh") == (
        KEY.encode(),
    )


def test_several_keys_in_one_variable_keep_their_order() -> None:
    config = MeshConfig.from_env({"MIROS_MESH_ENCRYPTION_KEY": f"{KEY},{OLD_KEY}"})
    assert config.keys_for("mesh") == (KEY.encode(), OLD_KEY.encode())


def test_an_empty_variable_is_not_set() -> None:
    environ = {"MIROS_MESH_BROKER_URL": "", "RABBIT_USER": " ", "MIROS_MESH_NODE_NAME": ""}
    assert MeshConfig.from_env(environ) == MeshConfig()


def test_secrets_are_read_from_files_without_their_last_line_end(tmp_path: Path) -> None:
    contents = {
        "BROKER_URL": "amqp://u:p@h",
        "MESH_ENCRYPTION_KEY": KEY,
        "SNOOP_TRACE_ENCRYPTION_KEY": OLD_KEY,
        "SNOOP_SPY_ENCRYPTION_KEY": f"{OLD_KEY}\n{KEY}",
    }
    environ = {}
    for name, content in contents.items():
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(content + "\n")
        environ[f"MIROS_MESH_{name}_FILE"] = str(tmp_path / name)
    config = MeshConfig.from_env(environ)
    assert [broker.password for broker in config.brokers] == ["p"]
    assert config.keys_for("snoop_trace") == (OLD_KEY.encode(),)
    assert config.keys_for("snoop_spy") == (OLD_KEY.encode(), KEY.encode())


def test_a_password_from_a_file_keeps_its_spaces(tmp_path: Path) -> None:
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text(" p w \n")
    config = MeshConfig.from_env(
        {
            "RABBIT_USER": "u",
            "MIROS_MESH_RABBIT_PASSWORD_FILE": str(tmp_path / "password"),
            "MIROS_MESH_ENCRYPTION_KEY": KEY,
        }
    )
    assert [broker.password for broker in config.brokers] == [" p w "]


def test_a_file_that_is_missing_or_empty_is_told_once_and_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "empty").write_text("\n")
    problems = problems_of(
        {
            "RABBIT_USER": "u",
            "MIROS_MESH_RABBIT_PASSWORD_FILE": str(tmp_path / "nowhere"),
            "MIROS_MESH_ENCRYPTION_KEY_FILE": str(tmp_path / "empty"),
            "MIROS_MESH_SNOOP_SPY_ENCRYPTION_KEY_FILE": "\0",
        }
    )
    assert problems == (
        "MIROS_MESH_ENCRYPTION_KEY_FILE names an empty file",
        "MIROS_MESH_SNOOP_SPY_ENCRYPTION_KEY_FILE names a file that cannot be read: no path",
        f"MIROS_MESH_RABBIT_PASSWORD_FILE names a file that cannot be read: {strerror(ENOENT)}",
    )


def test_a_secret_given_directly_and_by_file_is_ambiguous() -> None:
    environ = {"MIROS_MESH_BROKER_URL": "amqp://h", "MIROS_MESH_BROKER_URL_FILE": "/x"}
    assert problems_of(environ) == (
        "MIROS_MESH_BROKER_URL and MIROS_MESH_BROKER_URL_FILE are both set; remove one",
    )


def test_one_error_names_every_variable_that_is_wrong_or_missing() -> None:
    problems = problems_of(
        {
            "RABBIT_USER": "u",
            "CONNECTION_ATTEMPTS": "many",
            "MIROS_MESH_PREFETCH_FRAMES": "0",
            "MIROS_MESH_DRAIN_TIMEOUT_S": "soon",
            "MIROS_MESH_NODE_NAMES": "n",
            "SNOOP_SPY_ENCRYPTION_KEY": "nokey",
        },
        node_name="not valid",
    )
    text = "\n".join(problems)
    assert len(problems) == 8
    for words in (
        "RABBIT_USER is given without rabbit_password (MIROS_MESH_RABBIT_PASSWORD)",
        "mesh_encryption_key (MIROS_MESH_ENCRYPTION_KEY) is missing",
        "CONNECTION_ATTEMPTS must be a whole number",
        "MIROS_MESH_PREFETCH_FRAMES is 0; it must be a whole number from 1 to 65535",
        "MIROS_MESH_DRAIN_TIMEOUT_S must be a number",
        "MIROS_MESH_NODE_NAMES is no setting of miros_mesh; did you mean MIROS_MESH_NODE_NAME?",
        "\nSNOOP_SPY_ENCRYPTION_KEY is not a Fernet key",
        "node_name must be 1 to 64 characters",
    ):
        assert words in text


def test_a_file_form_for_what_is_no_secret_is_unknown() -> None:
    (problem,) = problems_of({"MIROS_MESH_NODE_NAME_FILE": "/x"})
    assert problem.startswith("MIROS_MESH_NODE_NAME_FILE is no setting of miros_mesh")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("SNOP_KEY", ["SNOOP_SPY_ENCRYPTION_KEY", "SNOOP_TRACE_ENCRYPTION_KEY"]),
        ("TRACE_KEY", ["SNOOP_TRACE_ENCRYPTION_KEY"]),
        ("KEY", ["ENCRYPTION_KEY", "MESH_ENCRYPTION_KEY", "SNOOP_SPY_ENCRYPTION_KEY"]),
        ("BROKERURL", ["BROKER_URL"]),
        (
            "ENCRYPTION_KEY_FIL",
            ["ENCRYPTION_KEY_FILE", "MESH_ENCRYPTION_KEY_FILE", "SNOOP_SPY_ENCRYPTION_KEY_FILE"],
        ),
    ],
)
def test_an_unknown_variable_is_told_with_those_that_may_be_meant(
    wrong: str, meant: list[str]
) -> None:
    (problem,) = problems_of({f"MIROS_MESH_{wrong}": "1"})
    hint = problem.partition("; did you mean ")[2]
    assert hint.rstrip("?").split(" or ") == [f"MIROS_MESH_{each}" for each in meant]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", ["_A" * 20_000, "BROKER_" * 100, "X" * 100_000])
def test_an_unknown_variable_that_is_longer_than_all_names_is_compared_with_none(
    wrong: str,
) -> None:
    (problem,) = problems_of({f"MIROS_MESH_{wrong}": "1"})
    assert problem == f"MIROS_MESH_{wrong} is no setting of miros_mesh"


def test_an_unknown_variable_that_resembles_nothing_has_no_hint() -> None:
    assert problems_of({"MIROS_MESH_QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ": "1"}) == (
        "MIROS_MESH_QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ is no setting of miros_mesh",
    )


def test_the_switch_of_discovery_is_left_alone() -> None:
    assert MeshConfig.from_env({"MIROS_MESH_LAN": "off"}) == MeshConfig()


def test_variables_that_kubernetes_makes_for_a_service_are_no_settings() -> None:
    address = "tcp://10.0.0.1:5672"
    environ = {
        "RABBIT_PORT": address,
        "MIROS_MESH_RABBIT_PORT": address,
        "MIROS_MESH_PORT": address,
        "MIROS_MESH_PORT_5672_TCP": address,
        "MIROS_MESH_PORT_5672_TCP_ADDR": "10.0.0.1",
        "MIROS_MESH_SERVICE_HOST": "10.0.0.1",
        "MIROS_MESH_SERVICE_PORT": "5672",
        "MIROS_MESH_SERVICE_PORT_AMQP": "5672",
    }
    assert MeshConfig.from_env(environ) == MeshConfig()


def shown_by(environ: dict[str, str]) -> str:
    try:
        return repr(MeshConfig.from_env(environ))
    except ConfigError as error:
        return f"{''.join(traceback.format_exception(error))} {error!r} {error.args}"


@pytest.mark.parametrize("name", [f.name.upper() for f in fields(MeshConfig)] + ["ENCRYPTION_KEY"])
@pytest.mark.parametrize("suffix", ["", "_FILE"])
@pytest.mark.parametrize("value", [SENTINEL, f"amqp://u:{SENTINEL}@h", f"amqp://u:{SENTINEL}@h:x"])
def test_no_variable_is_quoted_wherever_a_secret_was_put(
    name: str, suffix: str, value: str
) -> None:
    # With a wrong port beside it there is always an error, in which nothing is quoted.
    environ = {"MIROS_MESH_RABBIT_PORT": "x", f"MIROS_MESH_{name}{suffix}": value}
    assert SENTINEL not in shown_by(environ)


@pytest.mark.parametrize("name", SECRETS)
def test_no_content_of_a_file_is_quoted(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_bytes(SENTINEL.encode() + b"\xff")
    shown = shown_by({f"MIROS_MESH_{name}_FILE": str(tmp_path / "secret")})
    assert SENTINEL not in shown


@pytest.mark.parametrize(("word", "meant"), [("on", True), ("YES", True), ("0", False)])
def test_a_switch_is_on_or_off(word: str, meant: bool) -> None:
    assert MeshConfig.from_env({"MIROS_MESH_DISCOVERY_IPV6": word}).discovery_ipv6 is meant


def test_a_switch_that_is_neither_is_told_by_its_variable() -> None:
    problems = problems_of({"MIROS_MESH_DISCOVERY_IPV6": "perhaps"})
    assert problems == ("MIROS_MESH_DISCOVERY_IPV6 must be on or off",)


def test_a_file_in_the_folder_of_an_unknown_user_is_told_as_it_is_meant() -> None:
    [told] = problems_of({"MIROS_MESH_DISCOVERY_CACHE_FILE": "~no-such-user-here/x"})
    assert told == (
        "MIROS_MESH_DISCOVERY_CACHE_FILE begins with ~ of a user who has no folder; write it out"
    )
