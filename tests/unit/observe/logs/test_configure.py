"""configure_json: where the lines go, from which level up, and what is refused."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from miros_mesh.errors import ConfigError, LogFileError
from miros_mesh.observe.logs.configure import configure_json, json_handler, log_snoop
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.wire.keyring import generate_key
from support.log_lines import lines
from support.sealed import record

KEY = generate_key().decode()
library = logging.getLogger("miros_mesh.link.publisher")


def test_records_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure_json(stream, level=logging.WARNING)

    library.info("quiet")
    structlog.get_logger("shop").info("quiet")
    library.warning("loud")
    structlog.get_logger("shop").warning("loud")

    assert [line["message"] for line in lines(stream)] == ["loud", "loud"]


def test_configured_again_it_writes_to_the_new_place_only(stream: io.StringIO) -> None:
    second = io.StringIO()
    configure_json(stream)
    configure_json(second)

    library.warning("once")

    assert len(lines(second)) == 1
    assert not stream.getvalue()


def test_a_file_is_appended_to_and_closed_by_the_next_configuration(
    tmp_path: Path, stream: io.StringIO
) -> None:
    path = tmp_path / "app.log"
    path.write_text('{"message": "earlier"}\n')

    for word in ("first", "zweiß"):
        configure_json(path)
        library.warning(word)
    configure_json(stream)

    events = [json.loads(line)["message"] for line in path.read_text("utf-8").splitlines()]
    assert events == ["earlier", "first", "zweiß"]


def test_a_log_file_that_cannot_be_opened_changes_nothing(
    tmp_path: Path, stream: io.StringIO
) -> None:
    configure_json(stream)

    with pytest.raises(LogFileError, match=f"no folder {tmp_path}/missing: make it first"):
        configure_json(tmp_path / "missing" / "app.log")
    with pytest.raises(LogFileError, match=f"{tmp_path} cannot be opened: Is a directory"):
        configure_json(tmp_path, rotate_bytes=1000)
    library.warning("still here")

    assert len(lines(stream)) == 1


def test_without_a_target_it_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_json()

    library.warning("said")

    logging.getLogger().handlers[-1].flush()
    captured = capsys.readouterr()
    assert json.loads(captured.err)["message"] == "said"
    assert captured.out == ""


def test_importing_the_library_configures_nothing() -> None:
    assert not structlog.is_configured()


def test_the_library_is_silent_until_the_application_configures_logging() -> None:
    program = """
import logging, miros_mesh
logger = logging.getLogger("miros_mesh.link.publisher")
logger.error("unheard")
logging.basicConfig(format="%(message)s")
logger.error("heard")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert (done.stdout, done.stderr) == ("", "heard\n")


def test_a_snoop_record_in_a_plain_log_is_one_printable_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    log_snoop(record("e->x() a->b\n", chart="\x1b[31mevil"))

    assert caplog.messages == [r"\x1b[31mevil e->x() a->b\n"]


def test_snoop_records_can_go_to_a_file_of_their_own(tmp_path: Path, stream: io.StringIO) -> None:
    configure_json(stream)
    logger = logging.getLogger("miros_mesh.snoop")
    logger.addHandler(handler := json_handler(tmp_path / "snoop.json"))
    logger.propagate = False
    try:
        log_snoop(record())
        library.warning("said")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
        handler.close()

    assert from_ecs(json.loads((tmp_path / "snoop.json").read_text())) == record()
    assert [line["message"] for line in lines(stream)] == ["said"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rotate_bytes": -1}, "rotate_bytes: a size in bytes, and not -1"),
        ({"rotate_bytes": "1 GB"}, "rotate_bytes: a size in bytes, and not '1 GB'"),
        ({"rotate_bytes": 1000, "keep": 0}, "keep: at least 1 file, and not 0"),
        ({"keep": 3}, "keep: 3 files are kept of a log that rotates: give rotate_bytes too"),
    ],
)
def test_rotation_that_cannot_work_is_refused(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        configure_json(tmp_path / "app.log", **settings)
    assert not (tmp_path / "app.log").exists()


def test_rotation_of_a_stream_is_refused(stream: io.StringIO) -> None:
    with pytest.raises(ConfigError, match="rotate_bytes: 1000 is for a log that goes to a file"):
        configure_json(stream, rotate_bytes=1000)
