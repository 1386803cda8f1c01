"""What the library logs is what arrives in Elasticsearch, under the fields that `deploy/` maps."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject, SnoopRecord
from miros_mesh.observe.logs.configure import configure_json, log_snoop
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import event
from support.log_lines import TRANSITION, lines_of_every_kind, logging_as_it_was, paths, value_at
from support.rsyslog_shipper import HOST, Elasticsearch, Rsyslog, checked
from support.sealed import record
from support.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy" / "elk"
KEYWORDS = {"match_only_text", "keyword", "wildcard"}

_MOUNT = 'mount -t tmpfs -o size=1m none "$0" && echo ready && read -r _'


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    with logging_as_it_was():
        yield


@pytest.fixture
def elasticsearch() -> Iterator[Elasticsearch]:
    with Elasticsearch() as server:
        yield server


@pytest.fixture
def ship(rsyslog: None, tmp_path: Path, elasticsearch: Elasticsearch) -> Iterator[Rsyslog]:
    """The rsyslog of `deploy/`, with the test's folder and port; not yet started."""
    text = (DEPLOY / "rsyslog.conf").read_text()
    changes = {
        "/var/spool/rsyslog": f"{tmp_path}/rsyslog",
        "/var/log/doors/": f"{tmp_path}/log/",
        "/var/log/": f"{tmp_path}/",
        'serverport="9200"': f'serverport="{elasticsearch.port}"',
        'action.resumeInterval="5"': 'action.resumeInterval="1"',
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    assert set(re.findall(r'server="(.*?)"', text)) == {HOST}
    (tmp_path / "log").mkdir()
    shipper = Rsyslog(tmp_path / "rsyslog", text)
    yield shipper
    shipper.stop()


@pytest.mark.parametrize("around", ["", "$WorkDirectory /var/spool/rsyslog\n$IncludeConfig {}\n"])
def test_rsyslog_accepts_the_file_alone_and_inside_of_that_of_debian(
    rsyslog: None, tmp_path: Path, around: str
) -> None:
    file = DEPLOY / "rsyslog.conf"
    if around:
        inner, file = file, tmp_path / "main.conf"
        file.write_text(around.format(inner))
    done = checked(file)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "config validation run" not in line]
    assert said == []


@spy_on
def opened(chart: NetworkedActiveObject, event: Event) -> Any:
    if event.signal == signals.close:
        return chart.trans(closed)
    return _outside(chart, event)


@spy_on
def closed(chart: NetworkedActiveObject, event: Event) -> Any:
    if event.signal == signals.knock:
        return chart.trans(opened)
    return _outside(chart, event)


def _outside(chart: NetworkedActiveObject, event: Event) -> int:
    chart.temp.fun = chart.top
    return return_status.SUPER


class Program:
    """A program that logs into a file, which logrotate moves away now and then."""

    def __init__(self, path: Path) -> None:
        self.written: list[str] = []
        self._path = path
        self._handler = configure_json(path, service="doors")
        self._moved = 0

    def rotate(self) -> None:
        self._read()
        self._moved += 1
        self._path.rename(self._path.with_name(f"{self._path.name}.{self._moved}"))

    def end(self) -> list[str]:
        """Every line that it has written."""
        self._read()
        return self.written

    def _read(self) -> None:
        self._handler.flush()
        self.written.extend(self._path.read_text().splitlines())


def _work(turns: int) -> None:
    front = NetworkedActiveObject("front", config=MemoryMesh().config(), on_trace_rx=log_snoop)
    front.enable_snoop_trace()
    front.start_at(closed)
    for _ in range(turns):
        front.post_fifo(event("knock"))
        front.post_fifo(event("close"))
    front.stop()


def test_every_line_arrives_once_as_it_was_written_also_across_rotations(
    ship: Rsyslog, tmp_path: Path, elasticsearch: Elasticsearch
) -> None:
    # Given a program whose charts and whose own words go to one file
    program = Program(tmp_path / "log" / "doors.json")
    own = logging.getLogger("doors")
    ship.start()
    # When a chart works, odd names and long stacks are logged, and logrotate moves the file away
    _work(turns=25)
    log_snoop(record("e->x() \x1b[31ma->\n%b \"'\\", chart="\x1b[2Jevil\n%msg%", node="Tür ☃"))
    program.rotate()
    for number in range(200):
        own.info("line %d", number, extra={"till": number})
    own.error("a long one", exc_info=LookupError("x" * 50_000))
    wait_until(lambda: len(elasticsearch.bodies) > len(program.written), 30)
    program.rotate()
    own.info("the last one")
    written = program.end()
    wait_until(lambda: len(elasticsearch.bodies) >= len(written), 30)
    # Then each of them is there once, and is what was written
    said = ship.stop()
    assert sorted(elasticsearch.bodies) == sorted(written), said
    assert re.fullmatch(r"2018-05-04T13:23:29\.177773--?\d+", min(elasticsearch.ids))
    assert elasticsearch.indices == {"logs-miros_mesh-default"}
    documents = [json.loads(body) for body in elasticsearch.bodies]
    snoop = [from_ecs(each) for each in documents if "miros_mesh" in each]
    transitions = [each.to_state for each in snoop if each.chart == "front"]
    assert transitions == ["closed", *["opened", "closed"] * 25]


def test_lines_that_are_refused_for_now_come_again_and_those_for_good_are_kept(
    ship: Rsyslog, tmp_path: Path, elasticsearch: Elasticsearch
) -> None:
    program = Program(tmp_path / "log" / "doors.json")
    elasticsearch.refusals = [429, 503, 400]
    ship.start()

    for sequence in range(1, 11):
        log_snoop(record("\x1b[31m", sequence=sequence))

    wait_until(lambda: len(elasticsearch.bodies) == 9, 30)
    refused = tmp_path / "miros_mesh-refused.json"
    wait_until(lambda: refused.exists() and refused.read_text().endswith("\n"), 30)
    answer, _, line = refused.read_text().partition("} } ")
    assert '"status": 400, "error": { "type": "refused", "reason": "the test says so" ' in answer
    # Rsyslog reads what it sends again, and writes the same JSON in its own way.
    documents = [json.loads(each) for each in [*elasticsearch.bodies, line]]
    assert sorted(documents, key=str) == sorted(map(json.loads, program.end()), key=str)


def test_a_shipper_that_was_away_goes_on_where_it_was(
    ship: Rsyslog, tmp_path: Path, elasticsearch: Elasticsearch
) -> None:
    program = Program(tmp_path / "log" / "doors.json")
    ship.start()
    log_snoop(record(sequence=1))
    wait_until(lambda: elasticsearch.bodies, 30)
    ship.stop()

    log_snoop(record(sequence=2))
    program.rotate()
    log_snoop(record(sequence=3))
    program.end()
    ship.start()

    wait_until(lambda: len(elasticsearch.bodies) >= 3, 30)
    assert sorted(elasticsearch.bodies) == sorted(program.written)


# What deploy/elk says of the fields


@pytest.fixture(scope="module")
def mapped() -> dict[str, str]:
    """The type of every field in the index template; a field without properties is a label's."""
    template = json.loads((DEPLOY / "index-template.json").read_text())
    types = dict(_types(template["template"]["mappings"]["properties"]))
    assert types.pop("labels") == "object"
    return types


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Every field of the lines that the library writes, with one of its values."""
    values: dict[str, Any] = {}
    for line in lines_of_every_kind():
        values |= {path: value_at(line, path) for path in paths(line)}
    return values


def test_the_template_maps_every_field_of_a_line_and_no_other(
    mapped: dict[str, str], made: dict[str, Any]
) -> None:
    labels = {path for path in made if path.startswith("labels.")}
    assert labels == {"labels.floor"}
    assert set(mapped) == set(made) - labels


def test_each_field_has_a_type_that_its_values_fit(
    mapped: dict[str, str], made: dict[str, Any]
) -> None:
    for path, kind in mapped.items():
        values = made[path] if isinstance(made[path], list) else [made[path]]
        assert {type(value) for value in values} == {int if kind == "long" else str}, path
        assert kind in {"long", "date_nanos", *KEYWORDS}


def test_a_record_with_every_field_set_is_among_the_lines() -> None:
    assert None not in [getattr(TRANSITION, name) for name in SnoopRecord.__struct_fields__]


def test_the_data_stream_of_both_shippers_is_that_of_the_template() -> None:
    [pattern] = json.loads((DEPLOY / "index-template.json").read_text())["index_patterns"]
    filebeat = yaml.safe_load((DEPLOY / "filebeat.yml").read_text())
    index = filebeat["output.elasticsearch"]["index"]
    assert re.fullmatch(pattern.replace("*", ".*"), index)
    assert f'searchIndex="{index}"' in (DEPLOY / "rsyslog.conf").read_text()


def test_filebeat_reads_json_lines_and_names_fields_that_occur(made: dict[str, Any]) -> None:
    filebeat = yaml.safe_load((DEPLOY / "filebeat.yml").read_text())
    [source] = filebeat["filebeat.inputs"]
    [parser] = [each["ndjson"] for each in source["parsers"]]
    [dedup] = [each["fingerprint"] for each in filebeat["processors"]]
    # Without these the names with dots stay what they are, and the time is that of the reading.
    assert (source["type"], parser["target"]) == ("filestream", "")
    assert parser["expand_keys"] is parser["overwrite_keys"] is True
    assert set(dedup["fields"]) <= set(made)
    assert dedup["when.equals"] == {"event.dataset": made["event.dataset"]}


def test_the_saved_search_names_fields_that_are_mapped(mapped: dict[str, str]) -> None:
    objects = [
        json.loads(line) for line in (DEPLOY / "saved-search.ndjson").read_text().splitlines()
    ]
    view, search = objects
    [reference] = search["references"]
    assert (reference["id"], reference["type"]) == (view["id"], view["type"])
    assert view["attributes"]["timeFieldName"] in mapped
    attributes = search["attributes"]
    source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    asked = re.findall(r"([\w.@]+) :", source["query"]["query"])
    sorted_by = [field for field, _ in attributes["sort"]]
    assert asked
    assert {*asked, *sorted_by, *attributes["columns"]} <= set(mapped)


def test_the_page_shows_a_line_as_it_is_and_explains_every_field(
    mapped: dict[str, str],
) -> None:
    page = (DEPLOY.parents[1] / "docs" / "observability.md").read_text()
    block = re.compile(r'^```json title="a transition"\n(.*?)^```', re.MULTILINE | re.DOTALL)
    [shown] = block.findall(page)
    assert json.loads(shown) == lines_of_every_kind()[0]
    table = page.partition("### A line, field by field")[2].partition("\n### ")[0]
    explained = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))
    assert explained == {*mapped, "labels.*"}


def _types(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in properties.items():
        if "properties" in field:
            yield from _types(field["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field["type"]


# A full disk


def test_a_full_disk_hurts_no_chart_and_is_said_once(
    small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a chart whose trace goes to a disk that is nearly full
    path = small_disk / "doors.json"
    handler = configure_json(path)
    (small_disk / "ballast").write_bytes(b"\0" * 900_000)
    front = NetworkedActiveObject("front", config=MemoryMesh().config(), on_trace_rx=log_snoop)
    front.enable_snoop_trace()
    front.start_at(closed)
    # When it works on beyond its end
    for _ in range(200):
        front.post_fifo(event("knock"))
        front.post_fifo(event("close"))
    wait_until(lambda: handler.failed > 10)
    # Then it has handled everything
    wait_until(lambda: len(front.queue) == 0)
    assert front.health().dead_charts == ()
    # And once there is room, the log goes on with whole lines and says what is missing
    (small_disk / "ballast").unlink()
    front.stop()
    logging.getLogger("doors").warning("room again")
    handler.flush()
    messages = [json.loads(line)["message"] for line in path.read_text().splitlines()]
    assert "room again" in messages
    assert any("log records are missing here" in message for message in messages)
    said = capfd.readouterr().err
    assert said.count("cannot be written: [Errno 28] No space left on device; said once") == 1


@pytest.fixture
def small_disk(private_networks: None, tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, which only the process that holds it has mounted."""
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    holder = subprocess.Popen(
        ["unshare", "--mount", *users, "sh", "-c", _MOUNT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "ready\n"
    yield Path(f"/proc/{holder.pid}/root{tmp_path}")
    holder.communicate(timeout=10)
