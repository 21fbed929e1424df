"""How large a picture may be: as large as memory allows, which depends on its format and on what is decoded of it."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.fuzz.pictures.crafted_jpegs import sized
from tests.pictures import encoded
from visualsearch.domain.errors import BrokenImage, ImageTooLarge
from visualsearch.domain.images import Box
from visualsearch.imaging.decoding_cost import DECODING_BYTES, most_pixels
from visualsearch.imaging.formats.table import FORMATS
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import decode, dimensions, thumbnail

TELEPHONES = [(8192, 6144), (8160, 6144), (6144, 8192)]
PANORAMA = (16_382, 3628)
SCREENSHOT = (1080, 60_000)
HUGE = (16_320, 12_240)
"""200 megapixels, as the largest sensors of telephones have."""


def grey(size, plugin="JPEG", **options):
    return encoded(Image.new("L", size, 128), plugin, **options)


@pytest.fixture(scope="module")
def pool():
    with PicturePool(2, timeout_s=60) as pool:
        yield pool


@pytest.mark.parametrize(
    ("size", "plugin"),
    [*((size, "JPEG") for size in (*TELEPHONES, PANORAMA, SCREENSHOT)), (TELEPHONES[0], "PNG"), (SCREENSHOT, "PNG")],
)
async def test_pictures_of_telephones_panoramas_and_long_screenshots_are_accepted(size, plugin, pool):
    decoded = await pool.run(decode, grey(size, plugin))
    assert (decoded.width, decoded.height) == size


async def test_a_jpeg_of_200_megapixels_is_decoded_small(pool):
    data = grey(HUGE)
    decoded = await pool.run(decode, data)
    assert (decoded.width, decoded.height) == HUGE
    assert Image.open(BytesIO(await pool.run(thumbnail, data, 256))).size == (256, 192)


async def test_a_box_of_a_huge_jpeg_is_searched_even_if_it_needs_all_pixels_in_full(pool):
    assert (await pool.run(decode, grey(HUGE), Box(0, 0, 100, 100))).width == HUGE[0]


def test_a_small_box_of_a_huge_progressive_jpeg_is_refused_before_it_is_decoded():
    with pytest.raises(ImageTooLarge, match="Draw a larger box"):
        decode(sized(*HUGE, "progressive jpeg"), Box(0, 0, 100, 100))


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_every_format_is_limited_by_the_memory_that_it_takes(one):
    assert most_pixels(one) * one.bytes_per_pixel <= DECODING_BYTES
    assert most_pixels(one) >= 16_382 * 3628


def test_a_jpeg_over_the_limit_is_refused_by_its_header():
    with pytest.raises(ImageTooLarge, match=r"of a JPEG 200,000,000 are taken\. Shrink it"):
        dimensions(sized(16_384, 12_288))


def test_a_progressive_jpeg_may_have_ten_scans_at_most_at_this_size():
    with pytest.raises(BrokenImage, match="11 scans"):
        dimensions(
            sized(*HUGE, "progressive jpeg").replace(b"\xff\xd9", b"") + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\xff\xd9"
        )


@pytest.mark.parametrize(
    ("plugin", "mode"),
    [("PNG", "RGBA"), ("GIF", "P"), ("BMP", "L"), ("TIFF", "RGBA"), ("WEBP", "RGBA"), ("AVIF", "RGBA")],
)
async def test_decoding_takes_no_more_memory_than_a_formats_limit_says(plugin, mode):
    (one,) = (one for one in FORMATS if one.plugin == plugin)
    side = 3000
    options = {"TIFF": {"compression": "tiff_lzw"}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    data = encoded(Image.new(mode, (side, side)), plugin, **options.get(plugin, {}))
    with PicturePool(2, timeout_s=60) as pool:
        await pool.run_apart(decode, encoded(Image.new(mode, (64, 64)), plugin))
        before = await pool.run_apart(_peak, b"")
        await pool.run_apart(decode, data)
        assert await pool.run_apart(_peak, b"") - before < side * side * one.bytes_per_pixel


def _peak(_data):
    # Not by getrusage, which counts the parent of a process that was forked and then started another program.
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
