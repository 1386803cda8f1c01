"""The role of `deploy/ansible`: its style, its words, and a machine that sets itself up with it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from support import playbooks
from support.doc_pages import ROOT
from support.machine import Machine
from support.namespaces import Network
from support.playbooks import Controller

DEPLOY = ROOT / "deploy" / "ansible"
ROLE = DEPLOY / "roles" / "mesh"
NODE = ROOT / "deploy" / "rabbitmq" / "permissions" / "node.json"
BACK_DOT = r"\."


def read(path: str) -> Any:
    return yaml.safe_load((ROLE / path).read_text())


def test_every_variable_has_a_description_and_no_other_has() -> None:
    described = read("meta/argument_specs.yml")["argument_specs"]
    names = {name for each in described.values() for name in each.get("options", ())}
    assert names == set(read("defaults/main.yml"))


def test_a_node_may_do_what_the_file_for_a_node_says() -> None:
    known, node = read("vars/main.yml"), json.loads(NODE.read_text().replace("[.]", "."))
    everywhere = node["permissions"][0]
    for right, words in {
        "configure": f"{known['mesh_exchanges']}|{known['mesh_mark']}",
        "write": known["mesh_exchanges"],
        "read": known["mesh_exchanges"],
    }.items():
        assert everywhere[right].startswith(f"^miros_mesh.v1.({words.replace(BACK_DOT, '.')}|")
    # And of topics
    page = [
        (each["exchange"].removeprefix("miros_mesh.v1."), each["write"], each["read"])
        for each in node["topic_permissions"]
    ]
    template = (ROLE / "templates" / "definitions.json.j2").read_text().replace(BACK_DOT, ".")
    role = re.findall(r"^ +\('(\w+)', '(.*)', '(.*)'\),$", template, re.MULTILINE)
    # The role has words of the inventory where the file has blanks and the name of the user, and
    # beside a name that of the commands of the host.
    ours = {
        "(' ~ sends ~ ')": "{username}",
        "' ~ hears ~ '": "HEARS",
        "({username}|' ~ there ~ ')": "{username}",
    }
    for word, theirs in ours.items():
        role = [tuple(each.replace(word, theirs) for each in line) for line in role]
    assert role == page


@pytest.fixture
def alone(tmp_path: Path, ansible: None) -> Iterator[Machine]:
    """A machine without a network."""
    with (
        Network({"alone": ["10.7.0.1/24"]}) as network,
        Machine(network["alone"], tmp_path / "layer", (tmp_path, *playbooks.SHARED)) as machine,
    ):
        yield machine


def test_a_machine_sets_itself_up_and_has_nothing_to_change_the_second_time(
    alone: Machine, tmp_path: Path
) -> None:
    # Given an inventory of one machine, which needs no broker and has the release already
    environment = Path(sys.prefix)
    alone.write(str(environment / "installed"), "")
    controller = Controller(tmp_path, alone.command())
    controller.inventory.mkdir()
    (controller.inventory / "hosts.yml").write_text("mesh_nodes: {hosts: {alone: }}\n")
    (controller.inventory / "group_vars" / "all").mkdir(parents=True)
    controller.prepare(
        {
            "ansible_connection": "local",
            "mesh_run_by": "process",
            "mesh_user": "root",
            "mesh_program": str(DEPLOY / "example" / "bell.py"),
            "mesh_settings": {"BELL_ROOMS": "alone"},
        }
    )
    # When it is set up twice
    first, second = (controller.play("site.yml", f"-e mesh_venv={environment}") for _ in range(2))
    # Then the first time does it all, and the second nothing
    assert first.code == 0, first.said
    assert first.changed["alone"] > 5
    assert second.code == 0, second.said
    assert second.changed == {"alone": 0}
    # And the bell rings
    assert "rang 1\n" in alone.run("cat", "/var/lib/miros-mesh/bell/output.log")
