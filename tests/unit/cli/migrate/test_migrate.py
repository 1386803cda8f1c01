"""`miros-mesh migrate`: what it says of old projects, line by line, and what it never does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from miros_mesh.__main__ import main
from miros_mesh.cli.migrate import sources
from miros_mesh.cli.migrate.sources import findings
from support.doc_pages import ROOT
from support.rights import without_rights

PASSWORD, KEY = "dobbs", "u3Uc-qAi9iiCv3fkBfRUAKrM1gH8w51-nVU8M8A73Jg="
OLD = f"""\
import time
from miros.event import signals, Event, return_status
from miros_rabbitmq import NetworkedActiveObject, CacheFileChart
from miros_rabbitmq.network import MirosNets, Attribute
import miros_rabbitmq

raise SystemExit("this ran")

ao = NetworkedActiveObject("ao",
  "bob",
  rabbit_password="{PASSWORD}",
  mesh_encryption_key=b"{KEY}",
  trace_snoop_encryption_key=b"{KEY}",
  spy_snoop_encryption_key=b"{KEY}")
ao.enable_snoop_snoop()
ao.enable_snoop_trace()
nets = miros_rabbitmq.network.MirosNets()
nets.update_producers()

class Mine(NetworkedActiveObject):
  def on_network_trace_message(self, ch, method, properties, body):
    print(body)

other = NetworkedActiveObject("b", "bob", "{PASSWORD}", b"{KEY}", "heya.man")
"""


IMPORT = "import miros_rabbitmq\n"


def said_of(text: str) -> dict[int, list[str]]:
    said: dict[int, list[str]] = {}
    for each in findings(text):
        said.setdefault(each.line, []).append(each.text)
    return said


def test_each_line_of_an_old_program_is_told_what_it_becomes() -> None:
    said = said_of(OLD)

    assert sorted(said) == [3, 4, 5, 11, 13, 14, 15, 17, 18, 21, 24]
    old, new = "from miros_rabbitmq import", "from miros_mesh"
    assert said[3] == [
        f"{old} CacheFileChart -> {new}.discovery.sources.cache_file import CacheFileChart",
        f"{old} NetworkedActiveObject -> {new} import NetworkedActiveObject",
    ]
    assert said[4][0].startswith("Attribute is not here")
    assert said[4][1] == "MirosNets: gone: the node does it, callbacks are arguments of a chart"
    assert said[5] == ["import miros_rabbitmq -> import miros_mesh"]
    (line,) = said[13]
    assert line.startswith("trace_snoop_encryption_key carries over")
    assert line.endswith("snoop_trace_encryption_key")
    assert "snoop_spy_encryption_key" in said[14][0]
    assert said[15] == [
        "enable_snoop_snoop: a slip in the text for enable_snoop_spy, as the error says"
    ]
    assert "on_trace_rx=" in said[21][0]
    assert "by name" in said[24][0]


def test_no_line_quotes_a_secret() -> None:
    text = " ".join(each.text for each in findings(OLD))
    assert PASSWORD not in text
    assert KEY not in text


def test_a_name_that_is_said_to_be_somewhere_is_there() -> None:
    for name, module in sources._MODULES.items():
        assert hasattr(import_module(module), name), name


def test_a_source_that_does_not_import_it_is_left_alone() -> None:
    assert findings("class A:\n  def update_producers(self): pass\nA().update_producers()\n") == []


def test_a_class_under_another_name_is_looked_at_as_well() -> None:
    said = said_of(
        "from miros_rabbitmq import NetworkedFactory as Chart\n"
        f'Chart("a", "bob", "dobbs", b"{KEY}")\n'
        f'Chart("b", rabbit_user="bob", rabbit_password=b"{PASSWORD}")\n'
    )
    assert sorted(said) == [1, 2, 3]
    assert said[2][0].startswith("Chart: give the arguments after the third by name")
    assert said[3][0].startswith("rabbit_password carries over")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from miros_rabbitmq import *", "from miros_rabbitmq import * -> from miros_mesh import"),
        ("m = importlib.import_module('miros_rabbitmq')", "miros_rabbitmq, as a text"),
        ("m = __import__('miros_rabbitmq.network')", "miros_rabbitmq, as a text"),
        (f"from miros_rabbitmq import {'x' * 1000}", f"{'x' * 80}... is not here"),
        ("import miros_rabbitmq; x = '\\d' is '\\d'", "import miros_rabbitmq -> import miros_mesh"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_each_way_to_import_it_is_told(line: str, said: str) -> None:
    ((told,),) = said_of(line).values()
    assert told.startswith(said)


@pytest.mark.parametrize(
    "read", ['os.environ["RABBIT_USER"]', 'os.getenv("RABBIT_USER")', 'environ.get("RABBIT_USER")']
)
def test_a_program_that_reads_its_environment_is_told_who_fills_it(read: str) -> None:
    source = f'{IMPORT}a = {read}\nb = os.environ["MESH_ENCRYPTION_KEY"]\n'
    said = said_of(source)
    assert sorted(said) == [1, 2]
    assert "no longer put into the environment" in said[2][0]
    assert sorted(said_of(f"{source}load_dotenv()\n")) == [1]


def test_a_number_of_many_digits_is_no_text() -> None:
    assert sorted(said_of(f"{IMPORT}x = 0x{'f' * 10_000}\n")) == [1]


def test_a_module_of_the_projects_own_with_that_name_is_left_alone() -> None:
    assert findings("from .miros_rabbitmq import pump\n'miros_rabbitmq is gone'\n") == []


UNREADABLE = "cannot be read by this Python"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (("\ufeff" + IMPORT).encode(), "import miros_rabbitmq ->"),
        (f"# coding: latin-1\nx = 'é'\n{IMPORT}".encode("latin-1"), "import miros_rabbitmq ->"),
        (f"x = 'é'\n{IMPORT}".encode("latin-1"), UNREADABLE),
        (f"# coding: nonsense\n{IMPORT}".encode(), UNREADABLE),
        (f"{IMPORT}\0".encode(), UNREADABLE),
        (f"{IMPORT}x = {'(' * 100_000}".encode(), UNREADABLE),
        (f"{IMPORT}x = {'-' * 100_000}1".encode(), UNREADABLE),
        # From Python 3.14 on it can be read.
        (f"{IMPORT}x = a{'.b' * 100_000}".encode(), "odd.py:"),
        (f"{IMPORT}x = {'9' * 10_000}".encode(), UNREADABLE),
        (f"{IMPORT}async = 1".encode(), UNREADABLE),
        (f"{IMPORT}#{'x' * 4 * 1024 * 1024}".encode(), "is not looked at: it has more than"),
        (b"\xff\xfe\0", ""),
    ],
)
def test_each_odd_source_is_read_or_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    (tmp_path / "odd.py").write_bytes(content)
    assert main(["migrate", str(tmp_path)]) == (1 if said else 0)
    lines = capsys.readouterr().out.splitlines()
    if said:
        assert said in lines[0]
    assert len(lines) == (2 if said else 1)


def test_what_a_folder_may_have_in_it_ends_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, links in a circle, an environment, a notebook, a name that is no text."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "round.py").symlink_to("round.py")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pyvenv.cfg").touch()
    (tmp_path / "mine" / "theirs.py").write_text(OLD)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "look.ipynb").write_text(json.dumps({"cells": [{"source": [IMPORT]}]}))
    (tmp_path / "other.ipynb").write_text("{}")
    (tmp_path / "Dockerfile").write_text("RUN pip install miros-rabbitmq\n")
    (tmp_path / os.fsdecode(b"\x1b[2J\xff.py")).write_text(IMPORT)

    assert main(["migrate", str(tmp_path)]) == 1

    *lines, last = capsys.readouterr().out.splitlines()
    said = {line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in lines}
    assert said == {"pipe.py", "look.ipynb", "Dockerfile:1", r"\x1b[2J\udcff.py:1"}
    assert last.startswith("5 files were looked at, 4 places")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "requirements.txt",
            "dev-requirements.txt",
            "requirements/base.in",
            "requirements-dev.in",
        ),
        *("pyproject.toml", "setup.cfg", "Pipfile", "tox.ini", "environment.yml", "Dockerfile.old"),
    ],
)
def test_what_names_the_packages_that_are_required_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("# \n miros_rabbitmq\n")
    (tmp_path / "notes.txt").write_text("miros-rabbitmq\n")
    assert main(["migrate", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}:2: miros-rabbitmq -> miros-mesh")


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as the working one, with two folders and a file that cannot be read."""
    modes = {"unreadable": 0o311, "closed": 0o000, "listed": 0o444}
    tmp_path.chmod(0o755)
    for name, mode in modes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pump.py").write_text(IMPORT)
        (tmp_path / name).chmod(mode)
    (tmp_path / "shut.py").write_text(IMPORT)
    (tmp_path / "shut.py").chmod(0)
    (tmp_path / "shut").write_text("#!/usr/bin/python\n")
    (tmp_path / "shut").chmod(0)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in modes:
        (tmp_path / name).chmod(0o755)


def test_what_cannot_be_read_is_told_and_no_reason_to_end(
    closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with without_rights():
        assert main(["migrate", "."]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{name}: is not looked at: Permission denied"
        for name in ("shut.py", "listed/pump.py", "./closed", "./unreadable")
    ]
    assert last.startswith("2 files were looked at, 4 places")


def test_a_program_without_an_ending_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pump").write_text(f"#!/usr/bin/env python3\n{IMPORT}")
    (tmp_path / "sink").write_text(f"#!/bin/sh\n# {IMPORT}")
    assert main(["migrate", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{tmp_path}/pump:2: import miros_rabbitmq ->")
    # A file that is named itself is not passed over in silence, whatever it is called.
    assert main(["migrate", str(tmp_path / "sink")]) == 1
    assert "names miros-rabbitmq, and is no .py" in capsys.readouterr().out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "plant"
    (folder / "venv").mkdir(parents=True)
    (folder / "deep").mkdir()
    (folder / "deep" / "pump.py").write_text(OLD)
    (folder / "venv" / "other.py").write_text(OLD)
    (folder / "python2.py").write_text("import miros_rabbitmq\nprint 'x'\n")
    (folder / "broken.py").write_bytes(b"\xff\xfe")
    (folder / ".env").write_text(f"RABBIT_PASSWORD={PASSWORD}\n")
    (folder / ".miros_rabbitmq_hosts.json").write_text('{"hosts": []}')
    cache = {"addresses": [], "amqp_urls": [f"amqp://bob:{PASSWORD}@10.0.0.1"]}
    (folder / ".miros_rabbitmq_lan_cache.json").write_text(json.dumps(cache))
    (folder / "requirements.txt").write_text("miros\nmiros-rabbitmq==0.2.0\n")
    (folder / "link.py").symlink_to("/etc/passwd")
    return folder


def test_a_project_is_looked_through_and_nothing_of_it_runs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in project.rglob("*") if file.is_file()}

    assert main(["migrate", str(project)]) == 1

    said = capsys.readouterr().out
    lines = said.splitlines()
    assert f"{project}/.env: carries over" in said
    assert f"{project}/.miros_rabbitmq_hosts.json: carries over" in said
    assert f"{project}/.miros_rabbitmq_lan_cache.json: its addresses are read" in said
    assert f"{project}/requirements.txt:2: miros-rabbitmq -> miros-mesh" in said
    assert f"{project}/python2.py: cannot be read by this Python" in said
    assert sum("deep/pump.py:" in line for line in lines) == len(findings(OLD))
    assert not any("venv" in line or "link.py" in line for line in lines)
    assert lines[-1].startswith("7 files were looked at")
    assert PASSWORD not in said
    assert KEY not in said
    assert {file: file.read_bytes() for file in project.rglob("*") if file.is_file()} == before


def test_a_new_project_has_nothing_to_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.py").write_text("from miros_mesh import NetworkedActiveObject\n")
    assert main(["migrate", str(tmp_path)]) == 0
    assert "0 places" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", str(tmp_path / "nowhere")])
    assert ended.value.code == 2
    assert "there is no" in capsys.readouterr().err


def test_the_page_shows_what_the_command_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "ancestors.md").read_text().partition("## miros-mesh migrate")[2]
    program, said = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[:2]
    (tmp_path / "pump.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    assert main(["migrate", "pump.py"]) == 1
    assert capsys.readouterr().out == said
