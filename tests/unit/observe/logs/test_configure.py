"""configure_json: one JSON line for each record, wherever it came from, and no secret in any."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import ConfigError, LogFileError
from miros_mesh.observe.logs.configure import configure_json, json_handler, log_snoop
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.observe.logs.redaction import redact
from miros_mesh.wire.keyring import generate_key
from support.log_lines import logging_as_it_was
from support.sealed import record

KEY = generate_key().decode()
library = logging.getLogger("miros_mesh.link.publisher")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    with logging_as_it_was():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def written(stream: io.StringIO) -> str:
    for handler in logging.getLogger().handlers:
        handler.flush()
    return stream.getvalue()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(stream).splitlines()]


def test_a_record_of_the_library_is_one_line_of_json(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning("lost %s", "a peer", extra={"peer": "amqp://peter@host//", "tries": 3})

    [line] = lines(stream)
    assert dt.datetime.fromisoformat(line.pop("@timestamp")).utcoffset() == dt.timedelta(0)
    assert line == {
        "message": "lost a peer",
        "log.level": "warning",
        "log": {"logger": "miros_mesh.link.publisher"},
        "ecs.version": "1.6.0",
        "process": {"pid": os.getpid(), "thread": {"name": "MainThread"}},
        "labels": {"peer": "amqp://peter@host//", "tries": 3},
    }


def test_a_handler_of_the_application_that_formats_first_leaves_no_trace(
    stream: io.StringIO,
) -> None:
    earlier = logging.StreamHandler(io.StringIO())
    earlier.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(earlier)
    configure_json(stream)

    library.warning("said")

    assert "labels" not in lines(stream)[0]


def test_the_application_can_log_with_structlog(stream: io.StringIO) -> None:
    configure_json(stream)

    structlog.get_logger("shop").info("sold", item="book", count=2)

    [line] = lines(stream)
    assert (line["log"]["logger"], line["log.level"], line["message"]) == ("shop", "info", "sold")
    assert line["labels"] == {"item": "book", "count": 2}


def test_context_variables_of_structlog_are_in_the_line(stream: io.StringIO) -> None:
    configure_json(stream)

    with structlog.contextvars.bound_contextvars(request="r-1"):
        structlog.get_logger("shop").info("sold")

    assert lines(stream)[0]["labels"] == {"request": "r-1"}


def test_a_time_is_utc_wherever_the_machine_stands(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        configure_json(stream)
        library.warning("now")
    finally:
        monkeypatch.undo()
        time.tzset()

    logged = dt.datetime.fromisoformat(lines(stream)[0]["@timestamp"])
    assert abs(dt.datetime.now(dt.UTC) - logged) < dt.timedelta(minutes=1)


@pytest.mark.parametrize("logger", [library, "structlog"])
def test_an_exception_comes_with_its_stack(stream: io.StringIO, logger: Any) -> None:
    configure_json(stream)
    log = structlog.get_logger("shop") if logger == "structlog" else logger

    try:
        _raise_deep_down()
    except LookupError:
        log.exception("it broke")

    [line] = lines(stream)
    assert (line["message"], line["log.level"]) == ("it broke", "error")
    assert (line["error"]["type"], line["error"]["message"]) == ("LookupError", "nothing there")
    stack = line["error"]["stack_trace"]
    assert stack.startswith("Traceback (most recent call last):")
    assert "_raise_deep_down" in stack
    assert stack.endswith("LookupError: nothing there")


def test_a_stack_can_be_asked_for(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning("here", stack_info=True)

    assert "test_a_stack_can_be_asked_for" in lines(stream)[0]["error"]["stack_trace"]


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


class _Talkative:
    def __repr__(self) -> str:
        return f"<settings key={KEY} url=amqp://peter:hunter2@host//>"


class _Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")

    __str__ = __repr__


SECRETS = [
    pytest.param(KEY, id="a key"),
    pytest.param(KEY.encode(), id="a key as bytes"),
    pytest.param(f"key={KEY},{KEY}", id="two keys"),
    pytest.param("amqp://peter:hunter2@host:5672//", id="a URL"),
    pytest.param("amqp://peter:hunter2@host,amqps://ann:hunter2@host", id="two URLs"),
    pytest.param("amqp://:hunter2@host", id="a URL without a user"),
    pytest.param("amqp://peter:at@hunter2@host", id="a password with an @"),
    pytest.param("rabbit_password='hunter2'", id="an argument"),
    pytest.param("{'password': 'hunter2', 'user': 'peter'}", id="the repr of a dictionary"),
    pytest.param('{"password": "a\\"hunter2"}', id="JSON in a text"),
    pytest.param({"broker": ["x", {"url": "amqp://a:hunter2@b"}]}, id="deep in a structure"),
    pytest.param({"rabbit_password": "hunter2"}, id="a field that is called a password"),
    pytest.param({"mesh_encryption_key": "hunter2"}, id="a field that is called a key"),
    pytest.param("Authorization: Basic hunter2==", id="a header"),
    pytest.param("AUTHORIZATION: Digest a=1, b=hunter2", id="a header of several words"),
    pytest.param({"Authorization": "Basic hunter2"}, id="a field that authorizes"),
    pytest.param("{'Proxy-Authorization': 'Basic \\'hunter2'}", id="the repr of a header"),
    pytest.param("[('Authorization', b'Basic hunter2')]", id="headers as pairs"),
    pytest.param('{\\"Authorization\\": \\"Basic hunter2\\"}', id="a header in JSON in JSON"),
    pytest.param("Authorization: 'Basic hunter2", id="a header that was cut"),
    pytest.param("sent Bearer hunter2.a-b_c/d+e=", id="a bearer token"),
    pytest.param({KEY: "amqp://a:hunter2@b"}, id="a key as a key of a dictionary"),
    pytest.param((_Talkative(),), id="an object whose repr tells all"),
]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_in_a_line_whichever_way_it_came(stream: io.StringIO, secret: Any) -> None:
    configure_json(stream)

    library.warning("connecting to %s", secret)
    library.warning("connecting", extra={"to": secret})
    structlog.get_logger("shop").warning("connecting", to=secret)
    library.error("failed", exc_info=LookupError(secret))

    assert len(lines(stream)) == 4
    assert "hunter2" not in stream.getvalue()
    assert KEY not in stream.getvalue()
    assert stream.getvalue().count("***") >= 4


def test_a_password_in_a_source_line_of_a_traceback_is_masked(stream: io.StringIO) -> None:
    configure_json(stream)

    try:
        _connect(rabbit_password="hunter2")
    except LookupError:
        library.exception("failed")

    assert "_connect(rabbit_password=***)" in lines(stream)[0]["error"]["stack_trace"]


@pytest.mark.parametrize(
    "text",
    [
        "amqp://peter@host:5672//",
        "amqp://host:5672/a and http://host/path",
        "rabbit_password: give it together with rabbit_user",
        "the password is wrong",
        "the bearer token is too old",
        "no authorization for this",
        "e->to_inner() outer->inner",
        "6f1c0d9be2a34c5d/chart_a/12",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abc\nHost: a", "Authorization: ***\nHost: a"),
        ("{'authorization': 'Basic a', 'b': 1}", "{'authorization': '***', 'b': 1}"),
        ("with bearer abc.def, status 401", "with bearer ***, status 401"),
    ],
)
def test_what_stands_around_a_header_stays(text: str, masked: str) -> None:
    assert redact(text) == redact(masked) == masked


def test_the_rest_of_a_url_stays() -> None:
    assert (
        redact("to amqp://peter:x@host:5672//, again") == "to amqp://peter:***@host:5672//, again"
    )


@given(st.text(), st.binary(min_size=32, max_size=32), st.text())
def test_no_text_around_a_key_keeps_it_visible(before: str, raw: bytes, after: str) -> None:
    key = _fernet_key(raw)

    assert key not in redact(before + key + after)


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "://",
        "://a:",
        "password=",
        "=",
        "-_",
        "password:'\\",
        "authorization:'\\",
        "authorization: \n",
        "bearer ",
    ],
)
def test_a_long_line_is_redacted_in_no_time(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    started = time.perf_counter()

    redact(text)

    assert time.perf_counter() - started < 5


def test_values_that_json_does_not_know_are_written_as_text(stream: io.StringIO) -> None:
    configure_json(stream)
    cycle: list[Any] = []
    cycle.append(cycle)
    extra = {
        "path": Path("/srv/mesh"),
        "moment": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        "nothing": None,
        "nan": float("nan"),
        "pair": (1, True),
        "mute": _Mute(),
        "cycle": cycle,
    }

    library.warning("odd", extra=extra)

    labels = lines(stream)[0]["labels"]
    assert labels["path"] == "/srv/mesh"
    assert labels["moment"] == "2024-01-02 00:00:00+00:00"
    assert (labels["nothing"], labels["nan"], labels["pair"]) == (None, "nan", [1, True])
    assert labels["mute"] == "<_Mute without a repr>"
    assert "[...]" in labels["cycle"]


def test_names_with_dots_and_dictionaries_go_to_their_place(stream: io.StringIO) -> None:
    configure_json(stream, service="shop")

    library.warning(
        "paid", extra={"http.request.method": "GET", "http": {"version": 2}, "labels": {"till": 3}}
    )

    [line] = lines(stream)
    assert line["http"] == {"request": {"method": "GET"}, "version": 2}
    assert (line["labels"], line["service"]) == ({"till": 3}, {"name": "shop"})


def test_what_finds_its_place_taken_or_has_none_is_a_label(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning(
        "odd",
        extra={
            "event": "a word",
            "log": {"logger": "mine"},
            "process.pid.file": "x",
            "@timestamp": "now",
            "": 1,
            "a..b": 2,
            "a__b": [{"deep": 1}],
            "level": "mine",
        },
    )

    [line] = lines(stream)
    assert line["log"] == {"logger": "miros_mesh.link.publisher"}
    assert line["labels"] == {
        "event": "a word",
        "log_logger": "mine",
        "process_pid_file": "x",
        "@timestamp": "now",
        "_": 1,
        "a__b": 2,
        "a__b_": '[{"deep": 1}]',
        "level": "mine",
    }


def test_arguments_that_do_not_fit_cost_no_line_and_show_no_secret(stream: io.StringIO) -> None:
    logging.getLogger().handlers[:] = [configure_json(stream)]

    library.warning("%d of %s", KEY)

    [line] = lines(stream)
    assert line["message"].startswith("%d of %s (its arguments do not fit")
    assert KEY not in stream.getvalue()


def test_a_message_without_a_text_costs_no_line(stream: io.StringIO) -> None:
    logging.getLogger().handlers[:] = [configure_json(stream)]

    library.warning(_Mute())

    assert lines(stream)[0]["message"].startswith("<_Mute without a repr>")


def test_half_a_character_is_written_as_text(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning("\udc80", extra={"\udc80": "a\udc80"})

    [line] = lines(stream)
    assert (line["message"], line["labels"]) == (r"\udc80", {r"\udc80": r"a\udc80"})


def test_a_snoop_record_can_be_read_back_from_its_line(stream: io.StringIO) -> None:
    configure_json(stream)
    odd = record("e->x() a\x1b[31m->b\n", chart="\x1b[2Jevil\n\x9b", node="ü", from_state="a\x1b")

    log_snoop(odd)

    [line] = lines(stream)
    assert from_ecs(line) == odd
    assert written(stream).isascii()
    assert "\x1b" not in written(stream)


def test_a_snoop_record_shows_no_secret(stream: io.StringIO) -> None:
    configure_json(stream)

    log_snoop(record(f"password=hunter2 {KEY}", chart=KEY, signal="amqp://a:hunter2@b"))

    assert len(lines(stream)) == 1
    assert "hunter2" not in stream.getvalue()
    assert KEY not in stream.getvalue()


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


def _raise_deep_down() -> None:
    raise LookupError("nothing there")


def _connect(**_settings: str) -> None:
    raise LookupError("nobody answers")


def _fernet_key(raw: bytes) -> str:

    return base64.urlsafe_b64encode(raw).decode()
