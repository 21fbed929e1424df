"""Which way a picture is turned: as browsers turn it, which read the EXIF of JPEG and PNG alone."""

from io import BytesIO

import pytest
from PIL import Image

from tests.odd_pictures.catalogue import odd_pictures
from tests.odd_pictures.odd_picture import SIZE
from visualsearch.imaging.preprocessing import decode, dimensions, thumbnail

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")

LYING = SIZE[::-1]
TURNED = [
    "JPEG, EXIF 6, XMP 3",
    "JPEG, EXIF with little-endian",
    "JPEG, EXIF with a directory far in",
    "JPEG, EXIF with other entries first",
    "JPEG, EXIF with more entries than it has",
    "JPEG, EXIF 6, then EXIF 3",
    "JPEG, EXIF whose name ends in 0xFF",
    "JPEG, EXIF before its scan",
    "JPEG, CMYK, EXIF 6",
    "PNG, EXIF 6",
    "PNG, EXIF 6, then EXIF 3",
]
NOT_TURNED = [
    "JPEG, XMP 6 alone",
    "JPEG, XMP 6, then EXIF 3",
    "JPEG, EXIF with orientation of kind LONG",
    "JPEG, EXIF with two orientations in one",
    "JPEG, EXIF with another magic number",
    "JPEG, EXIF with cut in the entry",
    "JPEG, broken EXIF, then EXIF 6",
    "JPEG, EXIF after its end",
    "PNG, XMP 6",
    "PNG, EXIF 6 in a text",
    "PNG, EXIF 6 after its data",
    "PNG, EXIF 6 with a JPEG's prefix",
    "WebP, EXIF 6",
    "WebP, XMP 6 alone",
]


def size_everywhere(name: str) -> set[tuple[int, int]]:
    data = odd_pictures()[name].data
    decoded = decode(data)
    return {(decoded.width, decoded.height), dimensions(data), Image.open(BytesIO(thumbnail(data, 96))).size}


@pytest.mark.parametrize("name", TURNED)
def test_exif_turns_a_picture(name):
    assert size_everywhere(name) == {LYING}


@pytest.mark.parametrize("name", NOT_TURNED)
def test_what_browsers_do_not_read_turns_nothing(name):
    assert size_everywhere(name) == {SIZE}
