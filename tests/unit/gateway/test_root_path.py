"""A gateway that is served below a path, by a proxy that strips the path and by one that does not."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from gateway.api.app import create_app
from gateway.process.limited_connection import CHARGED
from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings

ROOT = "/pictures/vs"
ADDRESS = f"https://shop.example{ROOT}"


class Stripped(httpx.ASGITransport):
    """A proxy that passes on what lies below the path, without it."""

    async def handle_async_request(self, request):
        path = request.url.raw_path.removeprefix(ROOT.encode()) or b"/"
        url = request.url.copy_with(raw_path=path)
        passed_on = httpx.Request(request.method, url, headers=request.headers, stream=request.stream)
        return await super().handle_async_request(passed_on)


@pytest.fixture(scope="module")
def app():
    return create_app(root_path=ROOT)


@pytest.fixture(params=[Stripped, httpx.ASGITransport])
async def outside(request, app):
    """A client in front of the proxy."""
    async with (
        Serving(app=app, allowed_hosts="shop.example") as serving,
        httpx.AsyncClient(transport=request.param(app), base_url=ADDRESS) as client,
    ):
        client.serving = serving
        yield client


@pytest.mark.parametrize("page", ["", "/", "/docs"])
async def test_everything_that_a_page_loads_is_below_the_path(outside, page):
    answer = await outside.get(f"{ADDRESS}{page}")
    assert answer.status_code == 200
    links = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
    assert len(links) >= 3
    for link in links:
        loaded = await outside.get(urljoin(f"{ADDRESS}{page}", link))
        assert (loaded.status_code, str(loaded.url).startswith(f"{ADDRESS}/static/")) == (200, True), link


async def test_an_upload_is_found_at_its_location(outside):
    accepted = await outside.post("/images", files={"image": ("x.jpg", jpeg(1))})
    assert accepted.status_code == 202
    assert accepted.headers["location"] == f"{ROOT}/images/{accepted.json()['id']}"
    assert (await outside.get(urljoin(ADDRESS, accepted.headers["location"]))).status_code == 200


async def test_the_openapi_document_names_the_path(outside):
    document = (await outside.get("/openapi.json")).json()
    assert document["servers"] == [{"url": ROOT}]
    assert "/search" in document["paths"]


async def test_no_header_changes_the_path(outside):
    strange = {"x-forwarded-prefix": "/evil", "x-script-name": "/evil", "forwarded": "path=/evil"}
    accepted = await outside.post("/images", files={"image": ("x.jpg", jpeg(1))}, headers=strange)
    assert accepted.headers["location"].startswith(f"{ROOT}/images/")
    assert "evil" not in (await outside.get("/", headers=strange)).text


async def test_a_search_and_its_pictures_are_below_the_path(outside):
    image = await outside.serving.index(jpeg(1))
    answer = await outside.post("/search", files={"image": ("x.jpg", jpeg(1))})
    assert answer.json()["results"][0]["id"] == image
    assert (await outside.get(f"/images/{image}/content?size=64")).status_code == 200
    assert_problem(await outside.put(f"/images/{image}"), 405)
    assert_problem(await outside.get("/nowhere"), 404)


async def test_probes_and_metrics_of_the_own_address_are_served_too(app):
    async with Serving(app=app) as serving:
        for path in ("/health", "/ready", "/metrics", f"{ROOT}/health"):
            assert (await serving.client.get(path)).status_code == 200


async def test_a_path_that_only_begins_alike_is_another_one(app):
    async with Serving(app=app) as serving:
        assert_problem(await serving.client.get(f"{ROOT}ual/health"), 404)


async def test_a_request_below_the_path_is_charged_to_its_caller(app):
    async with Serving(app=app) as serving:
        scope = {
            **{"type": "http", "method": "GET", "path": f"{ROOT}/images", "query_string": b"", "client": ("::1", 1)},
            **{"headers": [(b"host", b"localhost")], "root_path": "", "scheme": "http", "http_version": "1.1"},
        }

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(_message):
            pass

        await serving.app(scope, receive, send)
        assert scope[CHARGED]


@pytest.mark.parametrize("path", ["/images", "/static/vs", "/docs", "/openapi.json"])
def test_a_path_like_an_own_address_is_refused(path):
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_ROOT_PATH"):
        create_app(root_path=path)


@pytest.mark.parametrize(
    "path", ["vs", "/vs/", "/", "/..", "/./vs", "/v s", "/vs//x", "/vs?x", "https://shop.example/vs", '/"><script>']
)
def test_a_text_that_is_no_path_is_refused(path, monkeypatch):
    monkeypatch.setenv("VISUALSEARCH_ROOT_PATH", path)
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_ROOT_PATH"):
        Settings.load()
