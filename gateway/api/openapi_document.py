"""What the OpenAPI document says beside the routes' own descriptions: common failures, and links between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.api import schemas
from gateway.api.problem_details import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

IMAGE_CALLS = (
    "GET /images/{image_id}",
    "GET /images/{image_id}/content",
    "HEAD /images/{image_id}/content",
    "GET /images/{image_id}/similar",
    "PATCH /images/{image_id}",
    "DELETE /images/{image_id}",
)
EXPERIMENT_CALLS = ("POST /experiments/{name}/start", "POST /experiments/{name}/stop")
RELEASE_CALLS = (
    "GET /releases/{name}",
    "POST /releases/{name}/evaluate",
    "POST /releases/{name}/shadow",
    "POST /releases/{name}/canary",
    "POST /releases/{name}/promote",
    "POST /releases/{name}/retire",
)
QUERY, FIRST = "$response.body#/query_image_id", "$response.body#/results/0/id"
CLICK = {"user_id": 7, "query_image_id": QUERY, "displayed_image_id": FIRST, "rank": 1}

LINKS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("POST /images", "202"): {call: {"parameters": {"image_id": "$response.body#/id"}} for call in IMAGE_CALLS},
    ("POST /search", "200"): {
        "POST /click": {"requestBody": CLICK},
        "GET /explain": {"parameters": {"query_image_id": QUERY, "image_id": FIRST}},
        "GET /images/{image_id}/similar": {"parameters": {"image_id": FIRST}},
    },
    ("POST /experiments", "201"): {call: {"parameters": {"name": "$response.body#/name"}} for call in EXPERIMENT_CALLS},
    ("POST /releases", "202"): {call: {"parameters": {"name": "$response.body#/name"}} for call in RELEASE_CALLS},
}
"""By call and status: the calls that an answer leads to, and which of its values they take."""


def install(app: FastAPI) -> None:
    """Complete the OpenAPI document of an app whose errors are problem documents."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = describe()
        known = document["components"]["schemas"]
        known["Problem"] = schemas.Problem.model_json_schema()
        # Remove the framework's own schemas of validation errors, which are never sent.
        for name in ("HTTPValidationError", "ValidationError"):
            known.pop(name, None)
        calls = {
            f"{method.upper()} {path}": operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        for operation in calls.values():
            _describe_common_failures(operation)
            for values in _texts(operation, known):
                _forbid_null(values)
        _describe_links(calls)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _texts(operation: dict[str, Any], known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of an operation's parameters and form fields, which are texts in a request."""
    for parameter in operation.get("parameters", []):
        yield parameter["schema"]
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form:
        yield from known[form["schema"]["$ref"].rpartition("/")[2]]["properties"].values()


def _forbid_null(schema: dict[str, Any]) -> None:
    """Remove null, which no text means: what may be null in Python is left out of a request."""
    others = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(others) == 1:
        del schema["anyOf"]
        schema.update(others[0])


def _describe_links(calls: dict[str, dict[str, Any]]) -> None:
    for (call, status), links in LINKS.items():
        identifiers = {target: calls[target]["operationId"] for target in links}
        calls[call]["responses"][status]["links"] = {
            identifiers[target]: {"operationId": identifiers[target], **values} for target, values in links.items()
        }


def _describe_common_failures(operation: dict[str, Any]) -> None:
    """Describe what middleware and validation answer, in place of the framework's own description of a 422."""
    given = operation["responses"]
    if "application/json" in given.get("422", {}).get("content", {}):
        del given["422"]
    common = [403]
    if "requestBody" in operation:
        common += [413, 422]
    if any(_may_be_invalid(parameter) for parameter in operation.get("parameters", [])):
        common.append(422)
    described = {str(status): response for status, response in failures(*common).items()} | given
    operation["responses"] = dict(sorted(described.items()))


def _may_be_invalid(parameter: dict[str, Any]) -> bool:
    """Return whether a value can be answered with a 422; an image id in the path is answered with a 404."""
    where, name = parameter["in"], parameter["name"]
    return bool(where == "query" or (where == "path" and name != "image_id"))
