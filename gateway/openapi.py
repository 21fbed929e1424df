"""Prints the OpenAPI document: `python -m gateway.openapi > gateway/openapi.json` after the interface was changed."""

from __future__ import annotations

import json
import sys

from gateway.api.app import create_app


def document() -> str:
    """Return the OpenAPI document of the REST interface, as it is committed."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
