"""What a browser shows is what is searched: odd picture files as Chromium draws them, and as `imaging` decodes them."""

import numpy as np
import pytest
from PIL import Image

from tests.e2e.browser import drawn
from tests.odd_pictures.catalogue import odd_pictures
from visualsearch.domain.images import IMAGE_SIDE, Box
from visualsearch.imaging.preprocessing import decode

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore:Corrupt EXIF data")]

BLACK_INK = "Chromium replaces black ink by the other three before it applies the profile, which was not made for that."
HDR = "Chromium maps the brightness of HDR to the screen in a way of its own. Here the samples are taken as sRGB."
NO_END = "Chromium waits for more data and leaves out the last rows, although none is missing."
DIFFERENCES = {
    "JPEG, CMYK with a profile": BLACK_INK,
    "JPEG, CMYK with a profile, without Adobe's marker": BLACK_INK,
    "JPEG, YCCK with a profile": BLACK_INK,
    "JPEG, no end": NO_END,
    "JPEG, half an end": NO_END,
    "PNG, a clear colour that differs in its last bits": "Pillow keeps 8 of 16 bits, and so similar colours are clear.",
    "PNG, cICP of a matrix": "A PNG is RGB, so Chromium refuses the file. Here the chunk alone is ignored.",
    "PNG, cICP of PQ": HDR,
    "PNG, cICP of HLG": HDR,
}
"""Pictures that are searched otherwise than a browser shows them, and why."""
AGREEING = [name for name in odd_pictures() if name not in DIFFERENCES]
TURNED = [name for name in AGREEING if "EXIF" in name]
BOXES = [Box(0, 0, 20, 20), Box(5, 30, 60, 64), Box(40, 10, 64, 50)]
"""Boxes that lie inside the pictures whichever way they are turned."""


@pytest.fixture(scope="module")
def shown(chromium: str) -> dict[str, Image.Image | None]:
    """How a browser shows each odd picture."""
    files = [(one.data, one.backdrop) for one in odd_pictures().values()]
    return dict(zip(odd_pictures(), drawn(chromium, files), strict=True))


def difference(name: str, picture: Image.Image, box: Box | None = None) -> float:
    """The mean difference of the channel that differs most, in 1/255; infinite if the sizes differ."""
    decoded = decode(odd_pictures()[name].data, box)
    if (decoded.width, decoded.height) != picture.size:
        return float("inf")
    region = picture.crop((box.x1, box.y1, box.x2, box.y2)) if box else picture
    wanted = np.asarray(region.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC), int)
    return float(np.abs(decoded.pixels - wanted).mean((0, 1)).max())


@pytest.mark.parametrize("name", AGREEING)
def test_a_picture_is_searched_as_a_browser_shows_it(name, shown):
    assert shown[name] is not None, "the browser shows nothing"
    assert difference(name, shown[name]) <= odd_pictures()[name].tolerance


@pytest.mark.parametrize("name", TURNED)
def test_a_box_drawn_in_a_browser_is_the_same_region_here(name, shown):
    for box in BOXES:
        assert difference(name, shown[name], box) <= odd_pictures()[name].tolerance + 1


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_listed_difference_is_one(name, shown):
    assert shown[name] is None or difference(name, shown[name]) > odd_pictures()[name].tolerance
