"""Prints the OpenAPI document. After changes of the API: `python -m gateway.openapi > gateway/openapi.json`."""

from __future__ import annotations

import json
import sys

from gateway.api.app import create_app


def document() -> str:
    """Return the OpenAPI document of the REST API in the form that is committed."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
