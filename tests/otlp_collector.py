"""A collector of traces for tests: receives OTLP over HTTP, and can be queried."""

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.eventually import eventually_sync

KEPT = 20_000


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """Traces that it is linked to."""
    attributes: dict


class Collector:
    """Spans in the order in which they came."""

    def __init__(self):
        self.spans = deque(maxlen=KEPT)
        self.url = ""

    def take(self, body):
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [_span(service, span) for scope in resource.scope_spans for span in scope.spans]

    def trace(self, trace, names, wait_s=15.0):
        """Spans of a trace, once spans of all these names have come."""

        def complete():
            spans = [span for span in list(self.spans) if span.trace == trace]
            missing = names - {span.name for span in spans}
            assert not missing, f"trace {trace} has no {missing}"
            return spans

        return eventually_sync(complete, wait_s, errors=AssertionError)


def _span(service, span):
    attributes = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
    links = tuple(link.trace_id.hex() for link in span.links)
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return Span(service, span.name, *ids, links, attributes)


@contextmanager
def collecting(port=0):
    """Run a collector; a free port is taken where none is named."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connected(spans):
    """Whether spans are one tree: exactly one of them has a parent that is not among them."""
    ids = {span.id for span in spans}
    return sum(span.parent not in ids for span in spans) == 1
