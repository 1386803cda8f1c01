"""Each record is one line of JSON in the fields of ECS, wherever it came from, without a secret."""

from __future__ import annotations

import datetime as dt
import io
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

from miros_mesh.observe.logs.configure import configure_json, log_snoop
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.wire.keyring import generate_key
from support.log_lines import lines, written
from support.sealed import record

KEY = generate_key().decode()


library = logging.getLogger("miros_mesh.link.publisher")


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


def test_a_snoop_record_is_of_its_own_node_and_the_program_that_logs_it_is_its_observer(
    stream: io.StringIO,
) -> None:
    configure_json(stream, service="watcher")

    library.warning("own words")
    log_snoop(record(node="here"))
    log_snoop(record(node="there"))

    own, *snooped = lines(stream)
    assert (own["service"], own.get("observer")) == ({"name": "watcher"}, None)
    assert [line["service"] for line in snooped] == [
        {"node": {"name": "here"}},
        {"node": {"name": "there"}},
    ]
    assert [line["observer"] for line in snooped] == [{"name": "watcher"}] * 2


def test_a_snoop_record_shows_no_secret(stream: io.StringIO) -> None:
    configure_json(stream)

    log_snoop(record(f"password=hunter2 {KEY}", chart=KEY, signal="amqp://a:hunter2@b"))

    assert len(lines(stream)) == 1
    assert "hunter2" not in stream.getvalue()
    assert KEY not in stream.getvalue()


def _raise_deep_down() -> None:
    raise LookupError("nothing there")


def _connect(**_settings: str) -> None:
    raise LookupError("nobody answers")
