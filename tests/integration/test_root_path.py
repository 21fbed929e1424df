"""A gateway below a path, behind a real proxy (Envoy) that strips the path and one that does not."""

import asyncio
import contextlib
import json

import httpx
import pytest
import uvicorn
from playwright.async_api import async_playwright, expect

from gateway.api.app import create_app
from tests.e2e.test_page import FLAGS
from tests.eventually import eventually
from tests.integration.test_front_proxy import free_port
from tests.pictures import encoded, jpeg, noise
from tests.server_binaries import envoy
from tests.unit.serving import Serving
from visualsearch.client import Client

ROOT = "/vs"
READY_S = 20
DRAWN_MS = 20_000
"""Swagger UI is large, and draws slowly on a busy machine."""
FILTERS = "type.googleapis.com/envoy.extensions.filters"


def config(port, gateway, rewritten):
    """Envoy that serves the gateway below the path and nothing else."""
    route = {"cluster": "gateway"} | ({"prefix_rewrite": rewritten} if rewritten else {})
    routes = [
        {"match": {"path": ROOT}, "route": route},
        {"match": {"prefix": f"{ROOT}/"}, "route": route},
        {"match": {"prefix": "/"}, "direct_response": {"status": 418}},
    ]
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"},
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": gateway}}}}
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "gateway",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "gateway", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        }
    }


@contextlib.asynccontextmanager
async def proxied(folder, gateway, rewritten):
    """Run the proxy; yield its address."""
    port = free_port()
    file = folder / "envoy.json"
    file.write_text(json.dumps(config(port, gateway, rewritten)))
    words = ["-c", str(file), "--disable-hot-restart", "--log-level", "error", "--concurrency", "1"]
    process = await asyncio.create_subprocess_exec(envoy(), *words)
    address = f"http://localhost:{port}"

    async def answers():
        async with httpx.AsyncClient() as client:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get(address)).status_code == 418

    try:
        await eventually(answers, READY_S, every_s=0.1)
        yield address
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture(scope="module")
async def gateway():
    """A gateway over fakes on a real port, with pictures to begin with."""
    async with Serving(app=create_app(root_path=ROOT)) as serving:
        for number in range(5):
            await serving.index(jpeg(number))
        server = uvicorn.Server(uvicorn.Config(serving.app, "127.0.0.1", 0, log_config=None, lifespan="off"))
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await task


@pytest.fixture(params=["/", ""], ids=["strips", "keeps"])
async def front(request, gateway, tmp_path):
    async with proxied(tmp_path, gateway, request.param) as address:
        yield address


async def test_the_client_takes_the_path_with_the_address(front, tmp_path):
    picture = tmp_path / "one.jpg"
    picture.write_bytes(jpeg(1))

    def search():
        with Client(f"{front}{ROOT}") as client:
            return client.search(picture, bbox=None, k=3, near_duplicates="keep")["results"], client.stats()["images"]

    results, images = await asyncio.to_thread(search)
    assert results[0]["score"] == pytest.approx(1, abs=1e-3)
    assert images["indexed"] == 5


@pytest.mark.browser
@pytest.mark.parametrize("at", [f"{ROOT}/", ROOT])
async def test_a_person_searches_adds_and_opens_pictures_on_the_page(front, at, chromium):
    asked, failed = [], []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(base_url=front)
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda response: response.status >= 400 and failed.append(response.url))
        await page.goto(at)
        await page.locator("#sample-list a").first.click()
        await expect(page.locator("#grid .tile .open img").first).to_have_js_property("complete", True)
        await page.locator("#grid .tile .open").first.click()
        await expect(page.locator("#detail-facts")).to_contain_text("indexed")
        await page.keyboard.press("Escape")
        file = {"name": "new.png", "mimeType": "image/png", "buffer": encoded(noise(7), "PNG")}
        await page.set_input_files("#query-file", file)
        await expect(page.locator("#grid:not([aria-busy]) .tile .open").first).to_be_visible()
        await page.goto(f"{ROOT}/docs")
        await expect(page.locator("#operations-default-search_search_post")).to_be_visible(timeout=DRAWN_MS)
        await browser.close()
    ours = [url for url in asked if not url.startswith(("blob:", "data:"))]
    assert ours
    assert [url for url in ours if not url.startswith(f"{front}{ROOT}")] == []
    assert failed == []
