"""The page for programs of miros-rabbitmq says what became of every name in its documents."""

from __future__ import annotations

import pytest

from support import ancestor_answers, ancestor_names


def test_every_name_of_the_documents_has_one_answer() -> None:
    kinds = [
        ancestor_answers.NOT_THE_PACKAGES,
        ancestor_answers._SAME,
        frozenset(ancestor_answers._CHANGED),
    ]
    assert sorted(name for kind in kinds for name in kind) == sorted(ancestor_names.listed())


def test_a_name_that_is_said_to_be_here_is_in_the_package() -> None:
    assert list(ancestor_names.unknown_here()) == []


def test_a_name_that_is_not_in_the_package_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        **ancestor_answers._CHANGED,
        "MirosNets": "new name: `NetsOfMiros`",
        "RabbitScout": ancestor_answers.SAME,
    }
    monkeypatch.setattr(ancestor_answers, "_CHANGED", wrong)
    assert sorted(ancestor_names.unknown_here()) == ["MirosNets: NetsOfMiros", "RabbitScout"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("uses ``scout.producer`` and ``Payload(ip, result)``", "Payload ip producer result scout"),
        ("the LanChart publishes RECCE_LAN", "LanChart RECCE_LAN"),
        ("  chart = LanChart(live_trace=True)", "LanChart chart live_trace"),
        ("ao.transmit(event)\nfrom miros_rabbitmq import x", "miros_rabbitmq transmit"),
        ("[t] [lan_chart] e->arp() a->b", "arp"),
        ("sets an ip_address in .env of /a/snake_case/path", ".env ip_address"),
    ],
)
def test_names_are_found_as_the_documents_write_them(text: str, names: str) -> None:
    assert names.split() == sorted(ancestor_names.names_in(text) & {*names.split(), "snake_case"})
