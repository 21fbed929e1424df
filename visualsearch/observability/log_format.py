"""Log formats: one JSON object a line for machines, and text for people. Converts JSON lines to text."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from visualsearch.observability import tracing

request_id: ContextVar[str] = ContextVar("request_id", default="")

IDS = ("request_id", "trace_id", "span_id")
SHOWN = 8
"""Number of characters of an id in text lines: enough to distinguish neighbouring lines."""


def _ids() -> dict[str, str]:
    asked = request_id.get()
    return ({"request_id": asked} if asked else {}) | tracing.ids()


class JsonLines(logging.Formatter):
    """Formats records as JSON: time, level, logger, message, and the request and trace ids if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _ids()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class TextLines(logging.Formatter):
    """Formats records as text."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat()
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        return _text(time, record.levelname, record.name, record.getMessage(), _ids(), exception)


def readable(line: str) -> str:
    """Convert a JSON log line to text; return any other line unchanged."""
    if not line.startswith('{"time":'):
        return line
    try:
        told = orjson.loads(line)
        ids = {name: told[name] for name in IDS if name in told}
        return _text(told["time"], told["level"], told["logger"], told["message"], ids, told.get("exception", ""))
    except (orjson.JSONDecodeError, KeyError):
        return line


def _text(time: str, level: str, logger: str, message: str, ids: dict[str, str], exception: str) -> str:
    named = " ".join(f"{name.removesuffix('_id')}={ids[name][:SHOWN]}" for name in IDS[:2] if name in ids)
    line = f"{time[:19].replace('T', ' ')} {level:7} {logger}: {message}"
    return line + (f" [{named}]" if named else "") + (f"\n{exception}" if exception else "")
