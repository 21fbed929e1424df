"""Metrics and logging. Names and labels follow Prometheus' conventions: base units, ``_total``, bounded label values.

gateway/api/metrics_collector.py collects the values that are only read at a scrape (images, lag).
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram, disable_created_metrics, start_http_server

from visualsearch.domain.errors import ConfigurationError, RateLimited, Unavailable
from visualsearch.observability import tracing
from visualsearch.observability.log_format import JsonLines, TextLines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from visualsearch.domain.errors import VisualSearchError

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Buckets for the latency of requests."""
LONG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Buckets for background work."""
SERVERS = ("triton", "milvus", "postgres", "valkey", "s3")
"""The servers that a gateway depends on, as /ready names them."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

disable_created_metrics()  # type: ignore[no-untyped-call]

REQUESTS = Counter("visualsearch_requests_total", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("visualsearch_request_seconds", "Time to answer a request.", ["route"], buckets=SECONDS)
ERRORS = Counter("visualsearch_errors_total", "Requests that ended in an error, by the error's class.", ["kind"])
SHED = Counter("visualsearch_shed_requests_total", "Requests refused, which the caller may retry.", ["reason"])
STAGE_SECONDS = Histogram(
    "visualsearch_search_stage_seconds",
    "Time of a search by stage; rescore is a part of ann, total is all.",
    ["stage", "release", "variant"],
    buckets=SECONDS,
)
IMPRESSIONS = Counter("visualsearch_impressions_total", "Results shown.", ["release", "variant"])
CLICKS = Counter("visualsearch_clicks_total", "Results clicked.")
LATER_FAILURES = Counter("visualsearch_background_failures_total", "Failed work after the response.", ["work"])
UNSCANNED = Counter("visualsearch_unscanned_files_total", "Files accepted while the virus scanner was unreachable.")
NOTICES = Counter("visualsearch_store_notices_total", "Notifications of object stores by webhook.", ["outcome"])

RECALL_HITS = Counter(
    "visualsearch_recall_proxy_hits_total", "Expected results that sampled queries found.", ["release"]
)
RECALL_EXPECTED = Counter(
    "visualsearch_recall_proxy_expected_total", "Expected results of sampled queries, ten each.", ["release"]
)
RECALL_SAMPLES = Counter("visualsearch_recall_proxy_samples_total", "Queries sampled for recall.", ["outcome"])

INDEX_EVENTS = Counter("visualsearch_index_events_total", "Indexing events, by outcome.", ["outcome"])
INDEX_BATCH_EVENTS = Histogram(
    "visualsearch_index_batch_events", "Events per batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
INTERACTIONS = Counter(
    "visualsearch_interactions_total",
    "Searches and clicks to be recorded, by outcome.",
    ["what", "outcome"],
)

INDEX_STAGE_SECONDS = Histogram(
    "visualsearch_index_stage_seconds",
    "Time of an indexing batch by stage; load is fetching and decoding, total is all.",
    ["stage"],
    buckets=LONG_SECONDS,
)


def count_request(route: str, method: str, status: str, seconds: float) -> None:
    """Count an answered request. ``route`` is a template, never a path; unknown methods count as ``other``."""
    REQUESTS.labels(route, method if method in METHODS else "other", status).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def count_error(error: VisualSearchError) -> None:
    """Count an error that a caller receives, and whether the caller should retry later."""
    kind = type(error).__name__
    ERRORS.labels(kind).inc()
    if isinstance(error, RateLimited | Unavailable) or kind in {"Overloaded", "FingerprintMismatch"}:
        SHED.labels(kind).inc()


def count_stages(release: str, variant: str, milliseconds: Mapping[str, float]) -> None:
    """Record the duration of each stage of a search."""
    for stage, taken in milliseconds.items():
        STAGE_SECONDS.labels(stage, release, variant).observe(taken / 1000)


@contextmanager
def index_stage(stage: str) -> Iterator[None]:
    """Measure and trace a stage of an indexing batch."""
    begin = time.perf_counter()
    try:
        with tracing.span(stage):
            yield
    finally:
        INDEX_STAGE_SECONDS.labels(stage).observe(time.perf_counter() - begin)


@contextmanager
def serve_metrics(host: str, port: int) -> Iterator[None]:
    """Serve /metrics on its own port while the block runs, for processes without HTTP; port 0 disables it.

    Raises ``ConfigurationError`` if the port is taken.
    """
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise ConfigurationError(f"/metrics cannot be served on {host}:{port}: {error.strerror}.") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configure_logging(level: str, style: str) -> None:
    """Log to standard error, one JSON object a line or text; ``auto`` means text on a terminal."""
    handler = logging.StreamHandler()
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLines() if as_text else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These log at length what the adapters raise as an error anyway; PIL, each of a picture's 65,535 tags at DEBUG.
    for chatty, quiet in {
        "pymilvus": logging.CRITICAL,
        "httpx": logging.WARNING,
        "psycopg.pool": logging.ERROR,
        "opentelemetry": logging.ERROR,
        "PIL": logging.WARNING,
    }.items():
        logging.getLogger(chatty).setLevel(quiet)
