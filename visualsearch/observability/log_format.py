"""Lines of the log: one JSON object each for machines, text for people, and the first told as the second."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from visualsearch.observability import tracing

request_id: ContextVar[str] = ContextVar("request_id", default="")

IDS = ("request_id", "trace_id", "span_id")
SHOWN = 8
"""Characters of an id that people are shown: enough to tell a line's from its neighbours'."""


def _ids() -> dict[str, str]:
    asked = request_id.get()
    return ({"request_id": asked} if asked else {}) | tracing.ids()


class JsonLines(logging.Formatter):
    """Time, level, logger and message; the ids of the request and of the trace, where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as JSON."""
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
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat()
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        return _text(time, record.levelname, record.name, record.getMessage(), _ids(), exception)


def readable(line: str) -> str:
    """Tell a line of ours as text; what is no line of ours stays as it is."""
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
