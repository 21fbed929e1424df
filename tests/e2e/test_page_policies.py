"""The pages under their content security policies, in a real browser, with a gateway on fakes."""

import asyncio
import contextlib
import json

import pytest
import uvicorn
from playwright.async_api import async_playwright, expect

from tests.e2e.browser import FLAGS
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving

pytestmark = pytest.mark.browser

EVIL = """<!doctype html><script>
const outcomes = {};
const attempt = async (name, work) => {
  try { await work(); outcomes[name] = "done"; } catch { outcomes[name] = "refused"; }
};
const image = (src) => new Promise((done, failed) => {
  const made = new Image(); made.onload = done; made.onerror = failed; made.src = src;
});
(async () => {
  const form = new FormData(); form.append("image", new Blob(["x"]), "x.jpg");
  await attempt("post", () => fetch("TARGET/images", { method: "POST", body: form, mode: "no-cors" }));
  await attempt("read", () => fetch("TARGET/stats"));
  await attempt("image", () => image("TARGET/images/1/content"));
  document.title = JSON.stringify(outcomes);
})();
</script><iframe src="TARGET/"></iframe>"""


@contextlib.asynccontextmanager
async def served(app):
    """Serve an app on a free port of this machine; yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_config=None))
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def gateway():
    async with Serving() as serving, served(serving.app) as port:
        yield serving, f"http://127.0.0.1:{port}"


@pytest.fixture
async def page(chromium):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page()
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        await browser.close()


async def test_the_description_of_the_interface_works_under_its_policy(gateway, page):
    _, url = gateway
    await page.goto(f"{url}/docs")
    await page.locator("#operations-default-health_health_get").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    await expect(page.locator(".live-responses-table td.response-col_status").last).to_contain_text("200")
    assert page.errors == []


async def test_the_search_page_and_a_picture_open_without_a_violation(gateway, page):
    serving, url = gateway
    image = await serving.index(jpeg(1))
    await page.goto(url)
    await expect(page.locator("#headline")).to_be_visible()
    await page.goto(f"{url}/images/{image}/content")
    size = await page.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]")
    assert size == [320, 240]
    assert page.errors == []


async def test_a_page_of_another_site_gets_and_starts_nothing(gateway, page):
    serving, url = gateway
    await serving.index(jpeg(1))
    before = dict(serving.image_repository.images)

    async def evil(scope, receive, send):
        assert scope["type"] in {"http", "lifespan"}
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": EVIL.replace("TARGET", url).encode()})

    async with served(evil) as port:
        await page.goto(f"http://localhost:{port}/")
        await page.wait_for_function("document.title")
        outcomes = json.loads(await page.title())
        assert outcomes == {"post": "refused", "read": "refused", "image": "refused"}
        assert page.frames[1].url in {"", "about:blank", "chrome-error://chromewebdata/"}
    assert serving.image_repository.images == before
    assert not serving.events.entries
