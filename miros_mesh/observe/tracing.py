"""OpenTelemetry: a span for each event that is sent and for each that is handled.

Names and attributes are those of the semantic conventions for messaging. Needs the extra `otel`,
which brings the API of OpenTelemetry; the application brings the SDK and says where spans go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Final

from miros_mesh.address import is_direct
from miros_mesh.errors import MissingExtraError
from miros_mesh.observe.version import version
from miros_mesh.observer import NO_SPAN, Span, Tracer
from miros_mesh.text import logger_of

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    raise MissingExtraError(
        "tracing needs the API of OpenTelemetry: pip install 'miros-mesh[otel]'"
    ) from None

logger = logger_of(__name__)

# The version of the conventions whose names are used below: a backend translates from it.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.30.0"
SYSTEM: Final = "miros_mesh"
# W3C trace context whatever the application has set globally: `Span.context` travels between
# programs that may be configured differently, and the wire takes this form alone.
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"

Attributes = Mapping[str, str | int]


class OpenTelemetryTracer(Tracer):
    """Makes a span for each `transmit` and for each handling of an event, across processes.

    The span of the handler is linked to that of `transmit` and begins a trace of its own, since
    charts that answer each other would make one trace that never ends. With `continue_traces` it
    is a part of the sender's. Its hooks raise nothing: an event whose span fails is sent all the
    same.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, *, continue_traces: bool = False
    ) -> None:
        self._tracer = trace.get_tracer(
            "miros_mesh", version(), tracer_provider, schema_url=SCHEMA_URL
        )
        self._continue = continue_traces
        # Set by any thread that uses the tracer. Without a lock: two threads at once log twice, no
        # more.
        self._failed = False

    def sending(self, *, node: str, chart: str, topic: str, signal: str) -> Span:
        attributes = _attributes("send", node, chart, signal) | _destination(topic)
        return self._try(lambda: self._sending(f"send {_named(topic)}", attributes))

    def handling(
        self,
        *,
        node: str,
        chart: str,
        topic: str,
        signal: str,
        message_id: str,
        size_bytes: int,
        context: str | None,
    ) -> Span:
        attributes = _attributes("process", node, chart, signal) | _destination(topic)
        attributes |= _message(message_id, size_bytes)
        return self._try(lambda: self._handling(f"process {_named(topic)}", attributes, context))

    def _sending(self, name: str, attributes: Attributes) -> Span:
        # Its parent is the span that is current on this thread: that of the handler which
        # transmits.
        span = self._tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes)
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        return _Followed(span, self._try, context=carrier.get(_HEADER))

    def _handling(self, name: str, attributes: Attributes, context: str | None) -> Span:
        # From an empty context, not from the current one, which may hold a span of the
        # application's.
        sender = _PROPAGATOR.extract({_HEADER: context}, Context()) if context else Context()
        sent = trace.get_current_span(sender).get_span_context()
        span = self._tracer.start_span(
            name,
            context=sender if self._continue else Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(sent)] if sent.is_valid else [],
        )
        # So that spans which the handler makes, and what it transmits, become children.
        token = contexts.attach(trace.set_span_in_context(span))
        return _Followed(span, self._try, token=token)

    def _try(self, call: Callable[[], Span]) -> Span:
        """Call what may run a sampler or a processor of the application; log the first error."""
        try:
            return call()
        except Exception:
            if not self._failed:
                self._failed = True
                logger.exception("a span could not be made or ended; said once")
            return NO_SPAN


class _Followed(Span):
    """A span of OpenTelemetry; with a token it is the thread's current span until it ends."""

    def __init__(
        self,
        span: trace.Span,
        guard: Callable[[Callable[[], Span]], Span],
        *,
        context: str | None = None,
        token: Token[Context] | None = None,
    ) -> None:
        self.context = context
        self._span = span
        self._guard = guard
        self._token = token

    def end(
        self,
        *,
        message_id: str | None = None,
        size_bytes: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        if self._token:
            # First, and on the thread that attached: whatever fails below, the next event of the
            # chart must not begin inside this span. It logs and raises nothing.
            contexts.detach(self._token)
        if message_id is not None:
            self._span.set_attributes(_message(message_id, size_bytes or 0))
        if error is not None:
            # Its class and not its words, which may hold a payload or a secret.
            kind = type(error).__qualname__
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR, kind))
        # This runs the application's span processors.
        self._guard(self._end)

    def _end(self) -> Span:
        self._span.end()
        return NO_SPAN


def _attributes(operation: str, node: str, chart: str, signal: str) -> dict[str, str | int]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.client.id": node,
        "miros_mesh.chart": chart,
        "miros_mesh.signal": signal,
    }


def _named(topic: str) -> str:
    """Return what stands for a topic in the name of a span, of which there are not to be many."""
    return "one chart" if is_direct(topic) else topic


def _destination(topic: str) -> dict[str, str | int]:
    return {"messaging.destination.name": topic}


def _message(message_id: str, size_bytes: int) -> dict[str, str | int]:
    return {"messaging.message.id": message_id, "messaging.message.body.size": size_bytes}
