"""The search page in a real browser, against the running stack."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.e2e.browser import FLAGS

pytestmark = [pytest.mark.stack, pytest.mark.browser]

QUERIES = Path(__file__).parents[2] / "demo" / "queries"
TIGER = QUERIES / "tiger.jpg"
DROP = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  for (const type of ["dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
PASTE = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}));
}"""
# The browser's protocol shows no form that holds a file, so the page's own request is noted on its way out.
NOTE_FORMS = """
const send = window.fetch;
window.fetch = (address, options) => {
  if (options?.body instanceof FormData) window.sent = Object.fromEntries(options.body);
  return send(address, options);
};
"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, demo_stack) -> Iterator[Page]:
    """The page at its start; fails the test when the page's code reports an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, base_url=demo_stack.url)
    page = context.new_page()
    page.add_init_script(NOTE_FORMS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # The browser itself writes a line for every answer that is no 2xx; those are not the page's.
    page.on(
        "console",
        lambda line: (
            errors.append(line.text)
            if line.type in {"error", "warning"} and not line.text.startswith("Failed to load resource")
            else None
        ),
    )
    page.goto("/")
    yield page
    context.close()
    assert errors == []


def choose(page: Page, picture: Path) -> None:
    page.set_input_files("#query-file", picture)
    expect_results(page)


def expect_results(page: Page) -> None:
    expect(page.locator("#grid:not([aria-busy]) .tile .open").first).to_be_visible()


def shown_ids(page: Page) -> list[str]:
    return [tile.get_attribute("data-id") or "" for tile in page.locator("#grid .tile").all()]


def drag_a_box(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    """Draw on the picture; the corners are parts of its width and height."""
    expect(page.locator("#stage .cropper-drag-box")).to_be_visible()
    page.wait_for_timeout(200)  # Cropper places itself a moment after it is there
    place = page.locator("#stage").bounding_box()
    assert place is not None
    x, y = place["x"] + place["width"] * left, place["y"] + place["height"] * top
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 1, y + 1)  # as a hand does; Cropper begins its box with the first movement
    page.mouse.move(place["x"] + place["width"] * right, place["y"] + place["height"] * bottom, steps=6)
    page.mouse.up()


def sent(page: Page, field: str) -> str:
    """Return a field of the form that the page sent last."""
    return str(page.evaluate("field => window.sent[field] ?? ''", field))


def sent_box(page: Page) -> list[int]:
    return [int(number) for number in sent(page, "bbox").split(",")]


def test_the_start_invites_with_pictures_of_the_corpus(page):
    samples = page.locator("#sample-list a")
    expect(samples.first).to_be_visible()
    samples.first.click()
    expect_results(page)
    assert "similar=" in page.url


@pytest.mark.parametrize("gesture", [DROP, PASTE], ids=["dropped", "pasted"])
def test_a_picture_given_by_hand_is_searched_at_once(page, gesture):
    page.evaluate(gesture, [TIGER.name, list(TIGER.read_bytes())])
    expect_results(page)
    expect(page.locator("#facts")).to_contain_text(re.compile(r"pictures? in [\d.]+ ms.*decode.*embed.*ann.*rank"))
    expect(page.locator("#stage .cropper-container")).to_be_visible()


def test_a_box_on_the_picture_changes_the_results_and_is_sent(page):
    choose(page, TIGER)
    before = shown_ids(page)
    with page.expect_response("**/search"):
        drag_a_box(page, 0.4, 0.05, 0.9, 0.4)
    x1, y1, x2, y2 = sent_box(page)
    with Image.open(TIGER) as picture:
        width, height = picture.size
    assert (x1 / width, y1 / height) == pytest.approx((0.4, 0.05), abs=0.03)
    assert (x2 / width, y2 / height) == pytest.approx((0.9, 0.4), abs=0.03)
    expect_results(page)
    assert shown_ids(page) != before
    page.get_by_role("button", name="Whole picture").click()
    expect_results(page)
    assert shown_ids(page) == before


def test_a_box_dragged_beyond_the_edge_stays_inside_the_picture(page):
    choose(page, TIGER)
    with page.expect_response("**/search") as answered:
        drag_a_box(page, 0.5, 0.5, 1.4, 1.2)
    with Image.open(TIGER) as picture:
        assert sent_box(page)[2:] == list(picture.size)
    assert answered.value.status == 200


def test_the_box_of_a_turned_photo_counts_in_the_upright_picture(page, tmp_path):
    lying = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees: upright it is 200 wide and 300 high
    file = tmp_path / "turned.jpg"
    lying.save(file, exif=exif)
    choose(page, file)
    with page.expect_response("**/search") as answered:
        drag_a_box(page, 0.1, 0.5, 1.2, 1.2)
    x1, y1, x2, y2 = sent_box(page)
    assert (x2, y2) == (200, 300)
    assert (x1, y1) == pytest.approx((20, 150), abs=5)
    assert answered.value.status == 200


def test_a_box_can_be_drawn_with_the_keyboard(page):
    choose(page, TIGER)
    expect(page.locator("#stage .cropper-drag-box")).to_be_visible()
    page.wait_for_timeout(200)  # as above
    page.locator("#stage").focus()
    with page.expect_response("**/search"):
        page.keyboard.press("Enter")
    x1, y1, x2, y2 = sent_box(page)
    assert 0 < x1 < x2
    assert 0 < y1 < y2
    expect_results(page)
    page.keyboard.press("Escape")
    expect(page.locator("#whole")).to_be_hidden()


def test_a_click_is_recorded_and_opens_the_picture_with_its_details(page):
    choose(page, TIGER)
    with page.expect_response("**/click") as logged:
        page.locator("#grid .tile .open").first.click()
    assert logged.value.status == 204
    told = logged.value.request.post_data_json
    assert told["rank"] == 1
    assert 0 < told["user_id"] < 2**53
    assert str(told["displayed_image_id"]) == shown_ids(page)[0]
    detail = page.get_by_role("dialog")
    expect(detail).to_contain_text(re.compile(r"\d+ \W \d+ pixels"))
    expect(detail).to_contain_text("indexed")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_one_can_search_on_and_go_back(page):
    choose(page, TIGER)
    first = shown_ids(page)
    page.locator("#grid .tile .open").first.click()
    with page.expect_response("**/similar?*") as answered:
        page.get_by_role("link", name="Search on from this", exact=True).click()
    assert answered.value.status == 200
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(f'#grid .tile[data-id="{first[0]}"]')).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect_results(page)
    assert shown_ids(page) == first
    page.go_back()
    expect(page.get_by_role("heading", name="Find pictures with a picture")).to_be_visible()


def test_the_number_of_results_and_folding_can_be_chosen(page):
    choose(page, TIGER)
    page.get_by_label("Show").select_option("10")
    expect(page.locator("#grid .tile")).to_have_count(10)
    assert sent(page, "near_duplicates") == "collapse"
    with page.expect_response("**/search") as answered:
        page.get_by_label("Fold near-duplicates").uncheck()
    assert sent(page, "near_duplicates") == "keep"
    assert all(result["near_duplicates"] == [] for result in answered.value.json()["results"])


def test_an_added_picture_becomes_searchable(page, tmp_path):
    file = tmp_path / "added.png"
    Image.effect_noise((120, 90), 80).save(file)
    page.set_input_files("#add-files", file)
    found = page.get_by_role("link", name="Show what is like it")
    expect(found).to_be_visible(timeout=60_000)
    found.click()
    expect_results(page)


def test_a_picture_that_browsers_do_not_show_is_shown_by_its_thumbnail_and_boxes_count_in_the_whole(page, tmp_path):
    file = tmp_path / "scan.tif"
    Image.effect_noise((40, 30), 80).resize((4000, 3000)).save(file, compression="tiff_lzw")
    page.set_input_files("#add-files", file)
    found = page.get_by_role("link", name="Show what is like it")
    expect(found).to_be_visible(timeout=60_000)
    found.click()
    expect_results(page)
    with page.expect_response("**/search") as answered:
        drag_a_box(page, 0.5, 0.5, 1.2, 1.2)
    x1, y1, x2, y2 = sent_box(page)
    assert (x2, y2) == (4000, 3000)
    assert (x1, y1) == pytest.approx((2000, 1500), abs=60)
    assert answered.value.status == 200


def test_folded_near_duplicates_are_counted_and_can_be_laid_out(page, tmp_path):
    copies = [tmp_path / "fine.jpg", tmp_path / "coarse.jpg"]
    clouds = Image.effect_noise((8, 6), 120).resize((200, 150))
    for quality, file in zip((95, 60), copies, strict=True):
        clouds.save(file, quality=quality)
    page.set_input_files("#add-files", copies)
    expect(page.get_by_role("link", name="Show what is like it")).to_have_count(2, timeout=60_000)
    choose(page, copies[0])
    first = page.locator("#grid .tile").first
    badge = first.get_by_role("button", name=re.compile(r"^\d+ near-duplicate"))
    badge.click()
    expect(badge).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#grid .folded")).to_have_count(int((badge.get_attribute("aria-label") or "").split()[0]))
    badge.click()
    expect(page.locator("#grid .folded")).to_have_count(0)


def test_a_result_offers_to_search_on_from_it_when_pointed_at(page):
    choose(page, TIGER)
    tile = page.locator("#grid .tile").first
    picked = shown_ids(page)[0]
    tile.hover()
    link = tile.get_by_role("link", name="Search on from picture")
    expect(link).to_have_css("opacity", "1")
    link.click()
    expect(page).to_have_url(re.compile(f"#similar={picked}$"))
    expect(page.locator(f'#grid .tile[data-id="{picked}"]')).to_have_count(0)


def test_a_text_file_gives_a_readable_sentence(page, tmp_path):
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader, this is no picture.\n" * 20)
    page.set_input_files("#query-file", file)
    expect(page.get_by_role("alert")).to_contain_text("not a JPEG, PNG, WebP")
    choose(page, TIGER)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_an_outdated_search_is_cancelled(page):
    held: list[Route] = []
    page.route("**/search", lambda route: route.continue_() if held else held.append(route))
    page.set_input_files("#query-file", QUERIES / "horse.jpg")
    expect(page.locator("#grid .skeleton").first).to_be_visible()
    with page.expect_event("requestfailed"):
        choose(page, TIGER)
    expect(page).to_have_title(re.compile("tiger"))
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_phone_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for picture in (None, TIGER):
        if picture:
            choose(page, picture)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_page_works_under_a_strict_content_security_policy(browser, demo_stack):
    buffer = BytesIO()
    Image.linear_gradient("L").save(buffer, "PNG")
    policy = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"
    page = browser.new_page(base_url=demo_stack.url)
    refused: list[str] = []
    page.on("console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None)

    def with_policy(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    page.route(f"{demo_stack.url}/", with_policy)
    page.goto("/")
    page.set_input_files("#query-file", {"name": "grey.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    expect_results(page)
    expect(page.locator("#stage .cropper-container")).to_be_visible()
    page.close()
    assert refused == []
