"""JSON that is too large is refused unparsed, and an answer names few of many mistakes."""

import hashlib

import orjson
import pytest

from gateway.api.request_bodies import MAX_JSON_BYTES
from gateway.limits.costs import BASE_MS, MISTAKE_MS
from tests.documented import DOCUMENT
from tests.unit.serving import Serving, assert_problem

KEYS = f"root:admin:{hashlib.sha256(b'root').hexdigest()}"
ROOT = {"authorization": "Bearer root", "content-type": "application/json"}
CALLS = [
    (method, path.replace("{image_id}", "1").replace("{name}", "x"))
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "application/json" in operation.get("requestBody", {}).get("content", {}) and path != "/events/s3"
]


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


@pytest.fixture
def unparsed(monkeypatch):
    async def parse(_request):
        raise AssertionError("it was parsed")

    monkeypatch.setattr("starlette.requests.Request.json", parse)


def unknown_fields(count):
    return {f"f{number}": 1 for number in range(count)}


def test_the_calls_with_json_are_all_there():
    assert {("post", "/deletions"), ("post", "/click"), ("patch", "/images/1"), ("post", "/releases/x/canary")} <= set(
        CALLS
    )


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_too_large_json_is_refused_unparsed(serving, method, path, chunked):
    body, read = orjson.dumps({"x": "y" * MAX_JSON_BYTES}), []

    async def parts():
        for part in (body, body, body):
            read.append(len(part))
            yield part

    content = parts() if chunked else body
    answer = await serving.client.request(method, path, content=content, headers=ROOT)
    assert_problem(answer, 413)
    assert "256 KB" in answer.json()["detail"]
    assert len(read) <= 1


async def test_json_up_to_the_limit_is_read_with_and_without_a_content_length(serving):
    body = orjson.dumps({"image_ids": [1]})
    body += b" " * (MAX_JSON_BYTES - len(body))

    async def parts():
        yield body[:100]
        yield body[100:]

    for content in (body, parts()):
        answer = await serving.client.post("/deletions", content=content, headers=ROOT)
        assert answer.json() == {"image_ids": [], "dry_run": False, "next": None}


async def test_an_answer_names_ten_mistakes_and_counts_the_others(serving):
    answer = await serving.client.post("/deletions", json=unknown_fields(13), headers=ROOT)
    assert_problem(answer, 422)
    detail = answer.json()["detail"]
    assert "f9: Extra inputs" in detail
    assert "f10" not in detail
    assert "and 3 more" in detail


async def test_all_of_few_mistakes_are_named_and_a_long_name_is_cut(serving):
    answer = await serving.client.post("/deletions", json={"x" * 10_000: 1, "after": -1}, headers=ROOT)
    assert_problem(answer, 422)
    assert "after: " in answer.json()["detail"]
    assert "more" not in answer.json()["detail"]
    assert len(answer.content) < 1000


async def test_mistakes_are_charged(serving, monkeypatch):
    charged = []
    monkeypatch.setattr("gateway.limits.caller_limits.Account.charge", lambda _, cost_ms: charged.append(cost_ms))
    await serving.client.post("/deletions", json=unknown_fields(1000), headers=ROOT)
    assert sum(charged) == pytest.approx(BASE_MS + 1000 * MISTAKE_MS, abs=0.1)
