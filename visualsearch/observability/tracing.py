"""Traces (OpenTelemetry), exported by OTLP over HTTP to the collector that a setting names. Nearly free without one.

A trace starts with a request or with entries that the indexer reads from the stream. Calls of servers join the current
trace and never start one, so polling leaves no traces. Traces cross processes as W3C ``traceparent``.
"""

from __future__ import annotations

import inspect
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.trace import SpanContext, Tracer

T = TypeVar("T")

EXPORT_S = 3.0
"""Timeout of an export, and the longest wait for the last export at shutdown. Later spans are dropped."""
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_KINDS |= {"producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}
_W3C = TraceContextTextMapPropagator()
_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: Tracer | None = None

Kind = Literal["internal", "server", "client", "producer", "consumer"]


@contextmanager
def exported(endpoint: str, service: str, ratio: float = 1.0) -> Iterator[None]:
    """Trace while the block runs, and export the remaining spans at its end. An empty ``endpoint`` disables tracing.

    ``ratio`` is the share of new traces that are kept. A trace that a caller has started is kept if the caller's
    sampling flag is set. Call this after any fork, because it starts a thread.
    """
    global _tracer
    if not endpoint:
        yield
        return
    # Imported here, because processes that do not trace need not load them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create({"service.name": f"visualsearch-{service}"})
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio), resource=resource)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    _tracer = provider.get_tracer("visualsearch")
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def span(
    name: str, kind: Kind = "internal", parent: str = "", links: Iterable[str] = (), **attributes: str | int | float
) -> AbstractContextManager[object]:
    """Trace the block. ``parent`` and ``links`` are traceparents; malformed ones are ignored.

    ``__`` in an attribute's name stands for a dot.
    """
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(
        name,
        context=_context(parent) if parent else None,
        kind=_KINDS[kind],
        links=[Link(origin) for origin in map(_origin, links) if origin.is_valid],
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
    )


def annotate(name: str = "", **attributes: str | int | float) -> None:
    """Add attributes to the current span; ``name`` renames it."""
    if _tracer is None:
        return
    current = trace.get_current_span()
    for key, value in attributes.items():
        current.set_attribute(key.replace("__", "."), value)
    if name:
        current.update_name(name)


@contextmanager
def consumed(name: str, origins: Iterable[str]) -> Iterator[None]:
    """Trace work on messages that carried these traceparents.

    Work for one trace becomes a span of that trace. Work for several traces becomes a new trace with links to each of
    them, and each of them gets a span of the same duration with a link back.
    """
    if _tracer is None:
        yield
        return
    known = sorted({origin for origin in origins if _origin(origin).is_valid})
    if len(known) == 1:
        with span(name, "consumer", known[0]):
            yield
        return
    begin = time.time_ns()
    with span(f"{name} together", "consumer", links=known, messaging__batch__message_count=len(known)):
        batch = trace.get_current_span().get_span_context()
        try:
            yield
        finally:
            for origin in known:
                one = _tracer.start_span(
                    name, _context(origin), SpanKind.CONSUMER, links=[Link(batch)], start_time=begin
                )
                one.end()


def traceparent() -> str:
    """Return the current traceparent, for another process to continue; empty if nothing is traced."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _W3C.inject(carrier)
    return carrier.get("traceparent", "")


def ids() -> dict[str, str]:
    """Return ``trace_id`` and ``span_id`` in hex, for log lines; empty if nothing is traced."""
    context = _current()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context else {}


def traced(adapter: T, server: str) -> T:
    """Wrap an adapter, so that each call becomes a span ``SERVER METHOD`` of the current trace, if there is one."""
    return cast("T", _Traced(adapter, server)) if _tracer is not None else adapter


class _Traced:
    def __init__(self, adapter: object, server: str) -> None:
        self._adapter = adapter
        self._server = server

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the adapter has
        found = getattr(self._adapter, name)
        if not inspect.iscoroutinefunction(found):
            return found
        call = _spanned(found, f"{self._server} {name}", self._server)
        setattr(self, name, call)
        return call


def _spanned(function: Callable[..., Any], name: str, server: str) -> Callable[..., Any]:
    async def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
        if _current() is None:
            return await function(*args, **more)
        with span(name, "client", peer__service=server):
            return await function(*args, **more)

    return call


def _current() -> SpanContext | None:
    if _tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


def _context(traceparent: str) -> Context:
    """Parse a traceparent; a malformed one gives an empty context, so that a new trace starts."""
    return _W3C.extract({"traceparent": traceparent}, Context())


def _origin(traceparent: str) -> SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()
