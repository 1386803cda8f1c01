"""Spans of two nodes, collected by the SDK of OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from miros import Event
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from miros_mesh import NetworkedActiveObject
from miros_mesh.errors import PayloadError
from miros_mesh.observe.tracing import OpenTelemetryTracer
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import Ground, Heard, Launch, event, node_of
from support.waiting import wait_until


class Spans:
    """What was ended, by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def tracer(self, **settings: Any) -> OpenTelemetryTracer:
        return OpenTelemetryTracer(self.provider, **settings)

    def ended(self, operation: str, signal: str) -> list[ReadableSpan]:
        return [
            span
            for span in self._exporter.get_finished_spans()
            if span.name.startswith(f"{operation} ")
            and (span.attributes or {})["miros_mesh.signal"] == signal
        ]

    def one(self, operation: str, signal: str) -> ReadableSpan:
        found: list[ReadableSpan] = wait_until(lambda: self.ended(operation, signal))
        [span] = found
        return span


def place_of(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span, however the span came to be known."""
    assert span.context
    return span.context.trace_id, span.context.span_id


def links_of(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    yield spans
    spans.provider.shutdown()


def answering(chart: NetworkedActiveObject, heard: Event) -> None:
    if heard.signal_name == "question":
        chart.transmit(event("answer"))


def test_an_event_is_followed_from_its_sender_to_its_handler_and_on(
    ground: Ground, launch: Launch, spans: Spans
) -> None:
    # Given a chart that answers, and another node that asks
    tracer = spans.tracer()
    launch("server", ground.node("there", observers=(tracer,)), answering)
    client = launch("client", ground.node("here", observers=(tracer,)))
    # When it asks
    client.transmit(event("question", {"how": "many"}))
    # Then the handler has a trace of its own that is linked to the question
    asked = spans.one("send", "question")
    handled = spans.one("process", "question")
    assert links_of(handled) == [place_of(asked)]
    assert handled.parent is None
    # And the answer is a child of the handler, which in turn is linked to
    answered = spans.one("send", "answer")
    assert answered.parent == handled.context
    assert links_of(spans.one("process", "answer")) == [place_of(answered)]


def test_spans_are_named_after_the_conventions_for_messaging(launch: Launch, spans: Spans) -> None:
    ground = Ground(MemoryMesh().config)
    launch(
        "door",
        ground.node("there", observers=(spans.tracer(),)),
        tx_routing_key="doors.back",
        rx_routing_key="doors.*",
    )
    launch(
        "hand",
        ground.node("here", observers=(spans.tracer(),)),
        tx_routing_key="doors.front",
        rx_routing_key="hands",
    ).transmit(event("knock", 7))
    sent, handled = spans.one("send", "knock"), spans.one("process", "knock")
    assert (sent.name, sent.kind) == ("send doors.front", SpanKind.PRODUCER)
    assert (handled.name, handled.kind) == ("process doors.front", SpanKind.CONSUMER)
    message_id = (sent.attributes or {})["messaging.message.id"]
    assert sent.attributes == {
        "messaging.system": "miros_mesh",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.client.id": "here",
        "messaging.destination.name": "doors.front",
        "messaging.message.id": message_id,
        "messaging.message.body.size": 1,
        "miros_mesh.chart": "hand",
        "miros_mesh.signal": "knock",
    }
    assert handled.attributes == {
        "messaging.system": "miros_mesh",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "there",
        "messaging.destination.name": "doors.front",
        "messaging.message.id": message_id,
        "messaging.message.body.size": 1,
        "miros_mesh.chart": "door",
        "miros_mesh.signal": "knock",
    }


def test_spans_of_an_event_for_one_chart_have_one_name_for_all_charts(
    launch: Launch, spans: Spans
) -> None:
    """Who answers sends to many, which come and go."""
    ground = Ground(MemoryMesh().config)
    launch("door", ground.node("there", observers=(spans.tracer(),)))
    hand = launch("hand", ground.node("here", observers=(spans.tracer(),)))
    hand.transmit(event("knock"), to="there/door")
    sent, handled = spans.one("send", "knock"), spans.one("process", "knock")
    assert (sent.name, handled.name) == ("send one chart", "process one chart")
    for span in (sent, handled):
        address = (span.attributes or {})["messaging.destination.name"]
        assert address == "miros_mesh.to.there.door"


def test_a_conversation_can_be_one_trace(launch: Launch, spans: Spans) -> None:
    ground, tracer = Ground(MemoryMesh().config), spans.tracer(continue_traces=True)
    launch("server", ground.node("there", observers=(tracer,)), answering)
    client = launch("client", ground.node("here", observers=(tracer,)))
    with spans.provider.get_tracer("program").start_as_current_span("program") as program:
        client.transmit(event("question"))
    spans.one("process", "answer")
    traces = {
        place_of(spans.one(operation, signal))[0]
        for operation in ("send", "process")
        for signal in ("question", "answer")
    }
    assert traces == {program.get_span_context().trace_id}


def test_a_callback_has_the_span_too(launch: Launch, spans: Spans) -> None:
    ground, current = Ground(MemoryMesh().config), list[int]()

    def hear(_: Event) -> None:
        current.append(trace.get_current_span().get_span_context().span_id)
        raise LookupError("secret")

    launch("there", ground.node("there", observers=(spans.tracer(),)), on_mesh_rx=hear)
    launch("here", ground.node("here")).transmit(event("knock"))
    handled = spans.one("process", "knock")
    assert current == [place_of(handled)[1]]
    assert handled.status.status_code is StatusCode.ERROR
    assert "secret" not in handled.to_json()


def test_the_span_ends_with_the_handler_that_raises(
    launch: Launch, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    ground = Ground(MemoryMesh().config)

    def fail(_: object, __: object) -> None:
        raise LookupError("secret")

    launch("there", ground.node("there", observers=(spans.tracer(),)), fail)
    launch("here", ground.node("here")).transmit(event("poison"))
    handled = spans.one("process", "poison")
    assert handled.status.status_code is StatusCode.ERROR
    assert (handled.attributes or {})["error.type"] == "LookupError"
    assert "secret" not in handled.to_json()


def test_what_cannot_be_sent_has_a_span_that_says_so(launch: Launch, spans: Spans) -> None:
    config = MemoryMesh().config(observers=(spans.tracer(),))
    with pytest.raises(PayloadError):
        launch("chart", config).transmit(event("knock", 1j))
    assert (spans.one("send", "knock").attributes or {})["error.type"] == "PayloadError"


def test_nodes_that_trace_and_nodes_that_do_not_hear_each_other(
    ground: Ground, launch: Launch, spans: Spans
) -> None:
    at_tracing, at_plain = Heard(), Heard()
    tracing = launch("a", ground.node("tracing", observers=(spans.tracer(),)), at_tracing)
    plain = launch("b", ground.node("plain"), at_plain)
    tracing.transmit(event("from_tracing"))
    plain.transmit(event("from_plain"))
    wait_until(lambda: at_plain and at_tracing)
    assert (at_plain, at_tracing) == ([("from_tracing", None)], [("from_plain", None)])
    assert spans.one("process", "from_plain").links == ()


def test_an_application_whose_spans_fail_loses_no_event(
    launch: Launch, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(SpanProcessor):
        def on_start(self, *_: Any, **__: Any) -> None:
            raise LookupError

        def on_end(self, *_: Any) -> None:
            raise LookupError

    spans.provider.add_span_processor(Failing())
    ground, heard, tracer = Ground(MemoryMesh().config), Heard(), spans.tracer()
    launch("there", ground.node("there", observers=(tracer,)), heard)
    here = launch("here", ground.node("here", observers=(tracer,)))
    for number in range(3):
        here.transmit(event("knock", number))
    wait_until(lambda: heard.payloads == [0, 1, 2])
    assert caplog.text.count("a span could not be made or ended") == 1


def test_a_tracer_of_an_application_without_an_sdk_sends_nothing_along(launch: Launch) -> None:
    heard = Heard()
    ground = Ground(MemoryMesh().config)
    chart = launch("here", ground.node("here", observers=(OpenTelemetryTracer(),)), heard)
    launch("there", ground.node("there", observers=(OpenTelemetryTracer(),)), heard)
    chart.transmit(event("knock"))
    wait_until(lambda: heard)
    tracer = node_of(chart).tracer
    assert tracer
    span = tracer.sending(node="here", chart="here", topic="t", signal="s")
    assert span.context is None


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from miros_mesh.errors import MissingExtraError
try:
    import miros_mesh.observe.tracing
except MissingExtraError as error:
    print(error, error.__suppress_context__)
"""


def test_without_the_extra_its_name_is_told() -> None:
    # No second traceback stands above the one that tells what to do.
    assert _run(WITHOUT).endswith("pip install 'miros-mesh[otel]' True\n")


def test_nobody_pays_for_it_who_does_not_use_it() -> None:
    imported = _run("import sys, miros_mesh.observe.metrics; print(sorted(sys.modules))")
    assert "opentelemetry" not in imported


def _run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
