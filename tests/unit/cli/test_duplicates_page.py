"""The page and the table of `visualsearch duplicates`, on fakes."""

import stat
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from cli.duplicates_page import write_page
from cli.duplicates_table import duplicates_table, summary
from indexer.maintenance.duplicate_report import find_duplicates
from tests.pictures import encoded, noise
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.images import Visibility

HOSTILE = "shop/<img src=x onerror=alert(1)>\"'[red].png"


class Page(HTMLParser):
    """The figures of a page: what is said under each, and whether it shows a picture."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.captions, self.pictures = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.pictures += tag == "img" and dict(attrs)["src"].startswith("data:image/jpeg;base64,")
        if tag == "figcaption":
            self.captions.append("")

    def handle_data(self, data):
        if self.captions:
            self.captions[-1] += data


@pytest.fixture
async def serving():
    """A picture of a hostile name with an exact copy, which is private, and a smaller one without an object."""
    async with Serving() as serving:
        await serving.index(encoded(noise(1), "PNG"), name=HOSTILE, owner="<b>eve</b>")
        await serving.index(encoded(noise(1), "PNG"), owner="ann", visibility=Visibility.PRIVATE)
        await serving.index(encoded(noise(1).resize((160, 120)), "PNG"), name="shop/small.png")
        await serving.object_store.delete("shop/small.png")
        yield serving


async def report_of(serving):
    stores = serving.image_repository, serving.duplicate_exclusions, serving.vectors
    return await find_duplicates(*stores, RELEASE)


async def test_the_page_shows_the_groups_and_escapes_every_name(serving, tmp_path):
    file = tmp_path / "new" / "duplicates.html"
    await write_page(file, await report_of(serving), serving.object_store, 50, lambda *_: None)
    text = file.read_text()
    page = Page(text)
    assert "onerror=alert(1)>" not in text.replace("&gt;", "")
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "<b>eve</b>" not in text
    copies, copy, near, small = page.captions
    assert "keep: the largest" in copies
    assert "<img src=x onerror=alert(1)>\"'[red].png" in copies
    assert "private of ann" in copy
    assert "the same file" in copy
    assert "keep: the largest" in near
    assert "160x120" in small
    assert "cosine" in small
    assert page.pictures == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_page_of_a_corpus_without_duplicates_says_so(tmp_path):
    async with Serving() as serving:
        await write_page(tmp_path / "page.html", await report_of(serving), serving.object_store, 5, lambda *_: None)
    assert (tmp_path / "page.html").read_text().count("None.") == 2


async def test_the_table_names_every_picture_and_its_owner(serving):
    report = await report_of(serving)
    printed = StringIO()
    Console(file=printed, width=250).print(duplicates_table(report, 50))
    lines = printed.getvalue().splitlines()
    assert any("copies 1" in line and "%5Bred%5D" in line and "<b>eve</b>" in line and "keep" in line for line in lines)
    assert any("private" in line and "ann" in line for line in lines)
    assert any("small.png" in line and "160x120" in line for line in lines)


async def test_the_summary_says_what_is_not_shown_and_not_compared(serving):
    serving.image_repository.colours[3] = None
    await serving.vectors.delete(RELEASE.collection, [2])
    report = await report_of(serving)
    found, *left = summary(report, 50).splitlines()
    assert found == "3 images, release v1. Exact copies: 1 (groups: 1). Near-duplicates: 1 (groups: 1)."
    assert [line.rpartition(": ")[2] for line in left] == ["1.", "1."]
    assert "--limit" not in summary(report, 1)
