"""Logs and metrics. Names and labels follow Prometheus' conventions; times are seconds there."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson
from prometheus_client import Counter, Gauge, Histogram

request_id: ContextVar[str] = ContextVar("request_id", default="")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUESTS = Counter("visualsearch_requests_total", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("visualsearch_request_seconds", "Time to answer a request.", ["route"], buckets=_SECONDS)
STAGE_SECONDS = Histogram(
    "visualsearch_search_stage_seconds", "Time of a search by stage.", ["stage"], buckets=_SECONDS
)
SHED = Counter("visualsearch_shed_requests_total", "Requests refused for want of capacity.", ["reason"])
LATER_FAILURES = Counter("visualsearch_background_failures_total", "Work after the answer that failed.", ["work"])
NOTICES = Counter("visualsearch_store_notices_total", "Records that object stores told by webhook.", ["outcome"])
DIFFERENCES = Gauge(
    "visualsearch_differences",
    "What the last reconciliation found; release is empty for the object store.",
    ["release", "kind"],
)
BUILT = Gauge("visualsearch_build_images", "Images of a release that is being built.", ["release", "part"])
IMAGES = Gauge("visualsearch_images", "Images by status.", ["status"])
INTERACTIONS = Counter(
    "visualsearch_interactions_total",
    "Searches and clicks to be written down, by what became of them.",
    ["what", "outcome"],
)
WAITING = Gauge(
    "visualsearch_interactions_waiting", "Entries of the spool that wait to be written.", multiprocess_mode="mostrecent"
)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def configure_logging(level: str, style: str) -> None:
    """Log to standard error: one JSON object a line, or text; ``auto`` is text on a terminal."""
    handler = logging.StreamHandler()
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(text if as_text else _JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Each says at length what the adapters turn into an error of ours anyway.
    for chatty, quiet in {
        "pymilvus": logging.CRITICAL,
        "httpx": logging.WARNING,
        "psycopg.pool": logging.ERROR,
    }.items():
        logging.getLogger(chatty).setLevel(quiet)
