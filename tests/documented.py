"""Compares every REST response in a test with the OpenAPI document."""

import json
import re
from pathlib import Path

DOCUMENT = json.loads((Path(__file__).parents[1] / "gateway" / "openapi.json").read_text())
# An address without a parameter takes precedence over one with.
PATHS = sorted(DOCUMENT["paths"], key=lambda path: "{" in path)
PATTERNS = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path), re.DOTALL) for path in PATHS}


def assert_documented(response):
    """Fail if the document does not list the response's status. A 500 is a fault that no document foresees."""
    request = response.request
    for path, pattern in PATTERNS.items():
        operation = DOCUMENT["paths"][path].get(request.method.lower())
        if operation and pattern.fullmatch(request.url.path):
            known = {*operation["responses"], "500"}
            assert str(response.status_code) in known, f"{request.method} {path} answers {response.status_code}"
            return


async def assert_documented_later(response):
    """Do the same as a hook of an asynchronous client."""
    assert_documented(response)
