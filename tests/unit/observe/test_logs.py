"""configure_json: one JSON line for each record, wherever it came from, and no secret in any."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.observe.logs import configure_json, redact
from miros_mesh.wire import generate_key

KEY = generate_key().decode()
library = logging.getLogger("miros_mesh.link.publisher")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_of_the_library_is_one_line_of_json(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning("lost %s", "a peer", extra={"peer": "amqp://peter@host//", "tries": 3})

    [line] = lines(stream)
    assert dt.datetime.fromisoformat(line.pop("timestamp")).utcoffset() == dt.timedelta(0)
    assert line == {
        "event": "lost a peer",
        "level": "warning",
        "logger": "miros_mesh.link.publisher",
        "peer": "amqp://peter@host//",
        "tries": 3,
    }


def test_a_handler_of_the_application_that_formats_first_leaves_no_trace(
    stream: io.StringIO,
) -> None:
    earlier = logging.StreamHandler(io.StringIO())
    earlier.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(earlier)
    configure_json(stream)

    library.warning("said")

    assert lines(stream)[0].keys() == {"event", "level", "logger", "timestamp"}


def test_the_application_can_log_with_structlog(stream: io.StringIO) -> None:
    configure_json(stream)

    structlog.get_logger("shop").info("sold", item="book", count=2)

    [line] = lines(stream)
    assert (line["logger"], line["level"], line["event"]) == ("shop", "info", "sold")
    assert (line["item"], line["count"]) == ("book", 2)


def test_context_variables_of_structlog_are_in_the_line(stream: io.StringIO) -> None:
    configure_json(stream)

    with structlog.contextvars.bound_contextvars(request="r-1"):
        structlog.get_logger("shop").info("sold")

    assert lines(stream)[0]["request"] == "r-1"


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

    logged = dt.datetime.fromisoformat(lines(stream)[0]["timestamp"])
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
    assert (line["event"], line["level"]) == ("it broke", "error")
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert "_raise_deep_down" in line["exception"]
    assert line["exception"].endswith("LookupError: nothing there")


def test_a_stack_can_be_asked_for(stream: io.StringIO) -> None:
    configure_json(stream)

    library.warning("here", stack_info=True)

    assert "test_a_stack_can_be_asked_for" in lines(stream)[0]["stack"]


def test_records_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure_json(stream, level=logging.WARNING)

    library.info("quiet")
    structlog.get_logger("shop").info("quiet")
    library.warning("loud")
    structlog.get_logger("shop").warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud", "loud"]


def test_configured_again_it_writes_to_the_new_place_only(stream: io.StringIO) -> None:
    second = io.StringIO()
    configure_json(stream)
    configure_json(second)

    library.warning("once")

    assert not stream.getvalue()
    assert len(lines(second)) == 1


def test_a_file_is_appended_to_and_closed_by_the_next_configuration(
    tmp_path: Path, stream: io.StringIO
) -> None:
    path = tmp_path / "app.log"
    path.write_text('{"event": "earlier"}\n')

    for word in ("first", "zweiß"):
        configure_json(path)
        library.warning(word)
    configure_json(stream)

    events = [json.loads(line)["event"] for line in path.read_text("utf-8").splitlines()]
    assert events == ["earlier", "first", "zweiß"]


def test_a_log_file_that_cannot_be_opened_changes_nothing(
    tmp_path: Path, stream: io.StringIO
) -> None:
    configure_json(stream)

    with pytest.raises(FileNotFoundError):
        configure_json(tmp_path / "missing" / "app.log")
    library.warning("still here")

    assert len(lines(stream)) == 1


def test_without_a_target_it_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_json()

    library.warning("said")

    captured = capsys.readouterr()
    assert json.loads(captured.err)["event"] == "said"
    assert captured.out == ""


def test_importing_the_library_configures_nothing() -> None:
    assert not structlog.is_configured()


class _Talkative:
    def __repr__(self) -> str:
        return f"<settings key={KEY} url=amqp://peter:hunter2@host//>"


class _Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


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

    assert "_connect(rabbit_password=***)" in lines(stream)[0]["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "amqp://peter@host:5672//",
        "amqp://host:5672/a and http://host/path",
        "rabbit_password: give it together with rabbit_user",
        "the password is wrong",
        "e->to_inner() outer->inner",
        "6f1c0d9be2a34c5d/chart_a/12",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


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


@pytest.mark.parametrize("unit", ["a", "://", "://a:", "password=", "=", "-_", "password:'\\"])
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

    [line] = lines(stream)
    assert line["path"] == "/srv/mesh"
    assert line["moment"] == "2024-01-02 00:00:00+00:00"
    assert (line["nothing"], line["nan"], line["pair"]) == (None, "nan", [1, True])
    assert line["mute"] == "<_Mute without a repr>"
    assert "[...]" in json.dumps(line["cycle"])


def _raise_deep_down() -> None:
    raise LookupError("nothing there")


def _connect(**_settings: str) -> None:
    raise LookupError("nobody answers")


def _fernet_key(raw: bytes) -> str:

    return base64.urlsafe_b64encode(raw).decode()
