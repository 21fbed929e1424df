"""The page in a real browser: explanations, duplicate exclusions, and a gateway that requires a key."""

import re

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.e2e.test_page import TIGER, browser, choose, expect_results, page, shown_ids  # noqa: F401 - fixtures

pytestmark = [pytest.mark.stack, pytest.mark.browser]

KEY = "correct horse battery staple"


def test_a_result_tells_why_it_was_found(page):  # noqa: F811
    choose(page, TIGER)
    page.locator("#grid .tile .open").nth(1).click()
    with page.expect_response("**/explain?*") as answered:
        page.get_by_role("button", name="Why this result?").click()
    assert answered.value.status == 200
    expect(page.locator("#why-picture")).to_be_visible()
    expect(page.locator("#why-words")).to_contain_text("agree")
    assert page.evaluate("document.getElementById('why-picture').naturalWidth") > 300


def test_a_folded_picture_marked_as_no_duplicate_is_listed_separately(page, tmp_path):  # noqa: F811
    copies = [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    clouds = Image.effect_noise((9, 7), 120).resize((210, 160))
    for quality, file in zip((95, 50), copies, strict=True):
        clouds.save(file, quality=quality)
    page.set_input_files("#add-files", copies)
    expect(page.get_by_role("link", name="Show what is like it")).to_have_count(2, timeout=60_000)
    choose(page, copies[0])
    leader = shown_ids(page)[0]
    page.locator("#grid .tile").first.get_by_role("button", name=re.compile(r"^\d+ near-duplicate")).click()
    folded = page.locator("#grid .folded").first
    twin = folded.get_attribute("data-id") or ""
    with page.expect_response("**/not-duplicates") as told:
        folded.get_by_role("button", name="is not a duplicate").click()
    assert told.value.status == 204
    expect(page.locator(f'#grid .tile:not(.folded)[data-id="{twin}"]')).to_be_visible()
    assert leader in shown_ids(page)


def test_a_gateway_that_asks_for_a_key_is_given_one_and_pictures_load_with_it(page):  # noqa: F811
    asked: list[str] = []

    def guard(route: Route) -> None:
        path = route.request.url.partition("/")[2]
        given = route.request.headers.get("authorization")
        if "/static/" in path or route.request.is_navigation_request() or given == f"Bearer {KEY}":
            asked.append(path) if given else None
            route.continue_()
            return
        body = '{"detail": "This call needs an API key."}'
        route.fulfill(status=401, content_type="application/problem+json", body=body)

    page.route("**/*", guard)
    page.reload()
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("This call needs an API key.")
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_role("button", name="Use this key").click()
    expect(page.locator("#sample-list a").first).to_be_visible()
    choose(page, TIGER)
    picture = page.locator("#grid .tile img").first
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)
    assert any("/content" in path for path in asked)
    page.reload()
    expect(page.get_by_role("button", name="Key", exact=True)).to_be_visible()
    expect(page.locator("#sample-list a").first).to_be_visible()
    assert KEY not in page.content()
    expect_results_of_sample(page)


def expect_results_of_sample(page) -> None:  # noqa: F811
    page.locator("#sample-list a").first.click()
    expect_results(page)
