"""Security headers, and responses that must not redirect a browser."""

import re

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem

PAGES = ["/", "/docs"]


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


def policy(answer):
    """Return the Content-Security-Policy of an answer by directive."""
    (given,) = answer.headers.get_list("content-security-policy")
    return {name: set(values) for name, *values in (part.split() for part in given.split(";"))}


def assert_restricted(answer):
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("referrer-policy") == ["same-origin"]
    assert answer.headers.get_list("cross-origin-resource-policy") == ["same-origin"]
    for directive in ("frame-ancestors", "base-uri", "form-action"):
        assert policy(answer)[directive] == {"'none'"}
    assert "unsafe-inline" not in str(policy(answer).get("script-src", policy(answer)["default-src"]))


async def test_every_response_has_the_security_headers(serving):
    image = await serving.index(jpeg(1))
    get = serving.client.get
    addresses = {
        200: ["/", "/docs", "/openapi.json", "/health", "/ready", "/stats", "/metrics", "/static/app.js"],
        404: ["/nowhere", "/images/0", "/static/nowhere"],
        405: ["/search"],
        422: [f"/images/{image}/similar?k=0"],
    }
    for status, paths in addresses.items():
        for path in paths:
            answer = await get(path)
            assert answer.status_code == status, path
            assert_restricted(answer)
    assert_restricted(await get(f"/images/{image}"))
    assert_restricted(await get(f"/images/{image}/content"))
    assert_restricted(await get("/health", headers={"host": "evil.example"}))
    assert_restricted(await serving.search(jpeg(1)))
    assert_restricted(await serving.client.post("/search", content=b"x", headers={"content-length": str(10**9)}))
    assert_restricted(await serving.client.delete(f"/images/{image}"))


async def test_an_unexpected_error_has_the_security_headers_too(serving, monkeypatch):
    monkeypatch.setattr(serving.encoder, "encode", None)
    answer = await serving.search(jpeg(1))
    assert_problem(answer, 500)
    assert_restricted(answer)


async def test_a_response_that_is_no_page_may_load_nothing(serving):
    image = await serving.index(jpeg(1))
    for path in ("/nowhere", "/stats", f"/images/{image}/content", "/static/icon.svg"):
        assert policy(await serving.client.get(path))["default-src"] == {"'none'"}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_runs_only_our_scripts_and_has_no_inline_ones(serving, path):
    page = await serving.client.get(path)
    assert policy(page)["default-src"] == {"'self'"}
    assert "script-src" not in policy(page)
    for attributes, text in re.findall(r"<script([^>]*)>(.*?)</script>", page.text, re.DOTALL):
        assert 'src="/static/' in attributes
        assert not text.strip()
    assert not re.search(r"\son\w+=|javascript:", page.text)


@pytest.mark.parametrize("path", ["/search/", "/images/", "/stats/", "/docs/", "/releases/", "/static"])
async def test_no_answer_redirects(serving, path):
    for method in ("GET", "POST"):
        answer = await serving.client.request(method, path)
        assert_problem(answer, 404)
        assert "location" not in answer.headers


ALLOWED = {
    "/search": "POST",
    "/images/1": "GET, PATCH, DELETE",
    "/not-duplicates": "POST, DELETE",
    "/experiments": "GET, POST",
    "/releases": "GET, POST",
    "/releases/rollback": "GET, POST",
    "/": "GET",
    "/openapi.json": "GET, HEAD",
    "/static/app.js": "GET, HEAD",
}


@pytest.mark.parametrize("path", ALLOWED)
async def test_a_method_that_an_address_does_not_take_is_told_all_that_it_takes(serving, path):
    for method in ("OPTIONS", "PUT", "TRACE"):
        refused = await serving.client.request(method, path)
        assert_problem(refused, 405)
        assert refused.headers["allow"] == ALLOWED[path]


async def test_allow_names_the_same_methods_behind_a_prefix(serving):
    serving.app.root_path = "/pictures"
    refused = await serving.client.put("/pictures/images/1")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "GET, PATCH, DELETE"
