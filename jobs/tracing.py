"""One trace for each job, from the HTTP request to the last webhook, in OpenTelemetry's terms.

Off until there is somewhere to send spans to; then every call here costs next to nothing. A span
never holds a prompt, nor the text of an error, which could hold one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = Mapping[str, str | int | float | bool]

#: What a span is to whoever is at its other end.
SERVER, CLIENT = SpanKind.SERVER, SpanKind.CLIENT
PRODUCER, CONSUMER = SpanKind.PRODUCER, SpanKind.CONSUMER
#: How long one export may take, and so how long a stopping process may be kept by a dead collector.
EXPORT_WITHIN_S = 5.0

_W3C = TraceContextTextMapPropagator()
_tracer: Tracer | None = None


@asynccontextmanager
async def exporting(endpoint: str | None, service: str) -> AsyncIterator[None]:
    """Send this process's spans for the length of a block, by OTLP over HTTP.

    What waits to be sent is bounded, and dropped when the collector does not keep up.

    Args:
        endpoint: the collector's address without `/v1/traces`; without one nothing is traced.
        service: what the process is called there.
    """
    global _tracer
    if not endpoint:
        yield
        return
    # Costs a tenth of a second, which nobody should pay who does not trace.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        resource=Resource.create({"service.name": service}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_WITHIN_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("darkroom")
    try:
        yield
    finally:
        _tracer = None
        await asyncio.to_thread(provider.shutdown)


def is_on() -> bool:
    return _tracer is not None


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
) -> Iterator[Span]:
    """Around a piece of work; what it does itself, and starts, lies within.

    Args:
        parent: a `traceparent` (W3C Trace Context) from elsewhere; else the span we are in.
    """
    if _tracer is None:
        yield INVALID_SPAN
        return
    context = _W3C.extract({"traceparent": parent}) if parent else None
    with _tracer.start_as_current_span(
        name,
        context,
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield started
        except Exception as error:
            started.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def record(name: str, begun_s: float, ended_s: float, *, parent: str | None = None) -> None:
    """A piece of work that is over, told in Unix time."""
    if _tracer is None:
        return
    context = _W3C.extract({"traceparent": parent}) if parent else None
    started = _tracer.start_span(name, context, start_time=round(begun_s * 1e9))
    started.end(round(ended_s * 1e9))


def traceparent() -> str | None:
    """The span we are in, for whoever goes on elsewhere (W3C Trace Context)."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _W3C.inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """The trace we are in, in hex."""
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None
