"""docs/formats.md and the page say what the table of formats says."""

import re

from cli.formats_reference import FILE, reference
from visualsearch.imaging.formats.table import MEDIA_TYPES
from visualsearch.settings import ROOT


def test_the_page_of_formats_is_made_out_of_the_code():
    assert FILE.read_text() == reference(), "run `python -m cli.formats_reference`"


def test_the_web_page_offers_every_format_for_choice():
    accepted = re.findall(r'type="file"[^>]* accept="([^"]*)"', (ROOT / "gateway" / "web" / "index.html").read_text())
    assert accepted == [",".join(MEDIA_TYPES)] * 2
