"""A collector of traces: what an OTLP exporter has sent to a receiver, put together again."""

from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from receiver import Receiver

#: Where OTLP over HTTP sends traces.
PATH = "/v1/traces"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span as it arrived."""

    name: str
    service: str
    trace_id: str
    span_id: str
    #: Empty for the first one of a trace.
    parent_id: str
    begun_ns: int
    ended_ns: int
    attributes: dict[str, Any]


def spans_in(receiver: Receiver) -> list[Span]:
    """Every span so far."""
    return [
        span
        for received in list(receiver.received)
        if received.path == PATH
        for span in _spans(ExportTraceServiceRequest.FromString(received.body))
    ]


def is_connected(trace: list[Span], root_parent: str = "") -> bool:
    """Whether all of a trace hangs together below one root."""
    known = {span.span_id for span in trace}
    loose = [span for span in trace if span.parent_id not in known]
    return [span.parent_id for span in loose] == [root_parent]


def _spans(request: Any) -> list[Span]:
    return [
        Span(
            name=span.name,
            service=_attributes(resource.resource)["service.name"],
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            begun_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            attributes=_attributes(span),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(holder: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in holder.attributes
    }
