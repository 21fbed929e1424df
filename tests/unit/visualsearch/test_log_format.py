"""Log lines as JSON and as text."""

import json
import logging
import sys

from visualsearch.observability.log_format import JsonLines, TextLines, readable, request_id


def record(message="a line", exc_info=None):
    return logging.LogRecord("gateway.search.image_search", logging.WARNING, __file__, 1, message, None, exc_info)


def failed():
    try:
        raise ValueError("broken")
    except ValueError:
        return record("it failed", sys.exc_info())


def test_a_json_log_line_is_one_object_with_the_request_id():
    token = request_id.set("0123456789abcdef")
    line = JsonLines().format(failed())
    request_id.reset(token)
    assert "\n" not in line
    told = json.loads(line)
    assert told["request_id"] == "0123456789abcdef"
    assert "ValueError: broken" in told["exception"]
    assert {"time", "level", "logger", "message"} <= told.keys()


def test_a_json_log_line_converts_to_the_text_line():
    token = request_id.set("0123456789abcdef")
    assert readable(JsonLines().format(failed()))[20:] == TextLines().format(failed())[20:]
    request_id.reset(token)
    assert readable(JsonLines().format(record())).endswith(" WARNING gateway.search.image_search: a line")


def test_log_lines_of_other_servers_are_unchanged():
    for line in ("", "plain", '{"level":"warn"}', '{"time":1}', '{"time":"2030-01-01', '{"time":"x","msg":"y"}'):
        assert readable(line) == line
