"""The files of `deploy/rabbitmq` name all that the library uses, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from miros_mesh.networks.network import exchange_of
from miros_mesh.node import network_specs
from support.broker_files import BLANK, FOLDER, definitions

FILES = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.json"))
BLANKS = {
    "node": "press",
    "hears": "press|belt",
    "group": "payments",
    "user": "watch",
    "host": "desk",
    "site": "west",
    "other": "east",
}
# What stays at its server (docs/sizing.md, two sites).
AT_ONE_SITE = {"letters", "deaths", "marks", "group"}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a file."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_no_password_and_no_blank_that_is_not_filled_in(name: str) -> None:
    text = definitions(name, "house", **BLANKS)
    assert not BLANK.search(text)
    said = list(objects(json.loads(text)))
    assert not {key for each in said for key in each if "password" in key}
    # And it is for the virtual host that it was filled in for
    assert {each["vhost"] for each in said if "vhost" in each} <= {"house"}
    # And its patterns can be read
    for each in said:
        for key in each.keys() & {"configure", "write", "read", "pattern"}:
            re.compile(each[key])


@pytest.mark.parametrize("role", ["node", "sender", "member", "monitor"])
def test_those_who_join_a_mesh_may_declare_its_exchanges(role: str) -> None:
    (said,) = json.loads(definitions(f"permissions/{role}.json", **BLANKS))["permissions"]
    named = {*network_specs.EXCHANGES, "miros_mesh.v1.key.0123abcd"}
    assert {each for each in named if re.search(said["configure"], each)} == named
    # And no others
    (listed,) = re.findall(r"\^miros_mesh\[.\]v1\[.\]\(([a-z_|]+)\|key", said["configure"])
    assert {exchange_of(each) for each in listed.split("|")} == set(network_specs.EXCHANGES)


def test_the_exchanges_of_two_sites_are_joined_but_for_those_of_one() -> None:
    said = json.loads(definitions("federation.json", **BLANKS))
    joined = {*network_specs.EXCHANGES} - {exchange_of(each) for each in AT_ONE_SITE}
    (sites,) = [each["pattern"] for each in said["policies"] if each["apply-to"] == "exchanges"]
    (site,) = said["permissions"]
    for pattern in (sites, site["read"]):
        assert {each for each in network_specs.EXCHANGES if re.search(pattern, each)} == joined
    # And each of the queues between them has a policy, and is its site's alone
    for exchange in joined:
        line = f"federation: {exchange} -> east"
        assert all(re.search(site[right], line) for right in ("configure", "write", "read"))
        assert not any(re.search(site[right], f"{line}er") for right in ("configure", "read"))
        fits = [each for each in said["policies"] if re.search(each["pattern"], line)]
        assert [each["apply-to"] for each in fits] == ["queues"]
