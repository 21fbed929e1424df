"""Good matches and the others on the page, and a lowest score that a person chooses."""

import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.test_page import TIGER, browser, choose, expect_results, page, sent, shown_ids

__all__ = ["browser", "page"]
pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.fixture(scope="module", autouse=True)
def calibrated(running, demo_stack, api):
    """A suggestion for the live release, which an indexer would make within a minute."""
    name = api.get("/stats").json()["live_release"]["name"]
    done = running.command("release", "calibrate", name)
    assert done.returncode == 0, done.stderr
    assert re.search(r"At 0\.\d{3} \(±0\.\d{3}\) 1 in 1,000 unrelated pictures passes", done.stdout)
    return api.get("/stats").json()["live_release"]["calibration"]["min_score"]


def score_of(tile):
    return float(tile.locator(".pill").inner_text())


def test_good_matches_come_before_the_line_and_the_others_after_it(page, calibrated):
    choose(page, TIGER)
    expect(page.locator("#grid .apart")).to_have_text("Less similar")
    expect(page.get_by_role("alert")).to_be_hidden()
    for tile in page.locator("#grid .tile:not(.apart ~ .tile)").all():
        assert score_of(tile) >= calibrated - 0.001
    for tile in page.locator("#grid .apart ~ .tile").all():
        assert score_of(tile) <= calibrated + 0.001


def test_a_picture_like_nothing_in_the_index_has_no_good_match(page, tmp_path):
    file = tmp_path / "fractal.png"
    Image.effect_mandelbrot((224, 224), (-3, -2.5, 2, 2.5), 100).save(file)
    page.set_input_files("#query-file", file)
    expect(page.get_by_role("alert")).to_contain_text("No good match")
    expect(page.locator("#grid > :first-child")).to_have_text("Less similar")


def test_a_lowest_score_leaves_the_others_out(page):
    choose(page, TIGER)
    everything = shown_ids(page)
    with page.expect_response("**/search"):
        page.get_by_label("At least").fill("0.6")
        page.keyboard.press("Enter")
    expect_results(page)
    assert sent(page, "min_score") == "0.6"
    few = shown_ids(page)
    assert 0 < len(few) < len(everything)
    assert few == everything[: len(few)]
    with page.expect_response("**/search"):
        page.get_by_label("At least").fill("0.99")
        page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Nothing in the index is that similar")
