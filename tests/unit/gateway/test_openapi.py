"""The committed OpenAPI document describes the served interface."""

import json
from pathlib import Path

import httpx
import pytest

from gateway.openapi import document
from tests.documented import assert_documented

COMMITTED = Path(__file__).parents[3] / "gateway" / "openapi.json"
DOCUMENT = json.loads(COMMITTED.read_text())
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]

RELEASES = {
    "GET /releases",
    "GET /releases/history",
    "POST /releases",
    "POST /releases/{name}/evaluate",
    "POST /releases/{name}/canary",
    "POST /releases/{name}/shadow",
    "GET /releases/{name}",
    "POST /releases/{name}/promote",
    "POST /releases/{name}/retire",
    "POST /releases/rollback",
}


@pytest.mark.parametrize(("path", "status"), [("/images/1", 409), ("/releases/history", 409), ("/health", 404)])
def test_an_answer_that_the_document_does_not_list_fails_a_test(path, status):
    answer = httpx.Response(status, request=httpx.Request("GET", f"http://localhost{path}"))
    with pytest.raises(AssertionError, match=f"answers {status}"):
        assert_documented(answer)


def test_the_committed_document_is_up_to_date():
    assert json.loads(document()) == DOCUMENT, "run: python -m gateway.openapi > gateway/openapi.json"


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_error_is_documented_as_a_problem(path, method):
    operation = DOCUMENT["paths"][path][method]
    assert operation["summary"]
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }


def test_every_call_of_the_contract_is_there():
    assert {f"{method.upper()} {path}" for path, method in OPERATIONS} == {
        "POST /search",
        "POST /images",
        "GET /images",
        "POST /click",
        "GET /images/{image_id}",
        "GET /images/{image_id}/content",
        "HEAD /images/{image_id}/content",
        "GET /images/{image_id}/similar",
        "PATCH /images/{image_id}",
        "DELETE /images/{image_id}",
        "POST /deletions",
        "GET /explain",
        "POST /not-duplicates",
        "DELETE /not-duplicates",
        "GET /health",
        "GET /ready",
        "GET /stats",
        "POST /events/s3",
        "GET /dead-letters",
        "POST /dead-letters/retry",
        "GET /experiments",
        "POST /experiments",
        "POST /experiments/{name}/start",
        "POST /experiments/{name}/stop",
        *RELEASES,
    }
