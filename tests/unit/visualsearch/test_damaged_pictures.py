"""Damaged files: accepted if every row of pixels is there, however the rest looks; refused if rows are missing."""

import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.pictures import crafted_pngs
from tests.fuzz.pictures.formats import chunk, chunks, png_of
from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.errors import BrokenImage
from visualsearch.imaging.formats.jpeg import MAX_MISSING_ROWS
from visualsearch.imaging.preprocessing import decode

PICTURE = noise(1)
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "restarts within rows": {"restart_marker_blocks": 3},
    "4:4:4": {"subsampling": 0},
    "grey": {},
}
GARBAGE = np.random.default_rng(1).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
BEHIND = {"nothing": b"", "zeros": bytes(3_000_000), "a video": b"\0\0\0\x18ftypmp42" + GARBAGE, "garbage": GARBAGE}


def jpeg_of(kind):
    return encoded(PICTURE.convert("L") if kind == "grey" else PICTURE, quality=85, **KINDS[kind])


def seen(data):
    return decode(data).pixels.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["without its end marker", "with it"])
def test_a_jpeg_with_every_row_is_accepted_whatever_is_behind_it(kind, behind, end):
    data = jpeg_of(kind)
    assert seen(data[:-2] + end + BEHIND[behind]) == seen(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", ["nothing", "zeros"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 0.99])
def test_a_jpeg_that_is_cut_off_is_refused_with_the_number_of_rows_that_are_missing(kind, behind, share):
    data = jpeg_of(kind)
    assert MAX_MISSING_ROWS == 0
    with pytest.raises(BrokenImage, match=r"of 240 rows of pixels about \d+ are missing"):
        decode(data[: int(len(data) * share)] + BEHIND[behind])


def test_a_jpeg_cut_off_at_a_restart_is_refused():
    data = jpeg_of("restarts")
    last = data.rindex(b"\xff\xd5")
    for cut in (last, last + 2):
        with pytest.raises(BrokenImage, match="missing"):
            decode(data[:cut])


def test_a_progressive_jpeg_whose_last_scans_are_missing_is_refused():
    data = jpeg_of("progressive")
    for scan in range(2, data.count(b"\xff\xda") + 1):
        begin = data.split(b"\xff\xda", scan)
        with pytest.raises(BrokenImage, match="missing"):
            decode(data[: -len(begin[-1]) - 2])


def test_a_jpeg_of_many_pictures_is_accepted_if_only_the_first_is_left():
    data = encoded(PICTURE, "MPO", save_all=True, append_images=[noise(2)], quality=85)
    assert seen(data[: data.index(b"\xff\xd9\xff\xd8")]) == seen(data)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"eXIf"])
def test_a_png_with_a_damaged_chunk_that_no_row_needs_is_accepted(kind):
    assert seen(crafted_pngs.small(chunk(kind, b"name\0\0\0\0\0\0", crc=1))) == seen(crafted_pngs.small())


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_a_png_with_a_damaged_chunk_that_its_rows_need_is_refused(kind):
    whole = chunks(encoded(PICTURE.quantize(60), "PNG"))
    damaged = (chunk(part.kind, part.data, crc=1 if part.kind == kind else None) for part in whole)
    with pytest.raises(BrokenImage, match="checksum"):
        decode(png_of([]) + b"".join(damaged))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_chunk_of_a_png_that_unpacks_to_much_is_skipped_and_not_unpacked(kind):
    data, begun = crafted_pngs.small(crafted_pngs.text_bomb(kind, 200_000_000)), time.process_time()
    assert seen(data) == seen(crafted_pngs.small())
    assert time.process_time() - begun < 0.5


def test_a_large_profile_of_a_png_is_skipped_and_the_first_of_two_counts():
    profile = encoded(PICTURE, "PNG", icc_profile=b"first")
    assert seen(profile) == seen(encoded(PICTURE, "PNG"))
    many = crafted_pngs.small(*[chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(900_000)))] * 40)
    begun = time.process_time()
    assert seen(many) == seen(crafted_pngs.small())
    assert time.process_time() - begun < 0.5


def test_a_png_without_its_end_or_with_something_behind_it_is_accepted():
    data = encoded(PICTURE, "PNG")
    for changed in (data[:-12], data[:-12] + chunk(b"tEXt", b"cut", length=90)[:-9], data + GARBAGE):
        assert seen(changed) == seen(data)


@pytest.mark.parametrize("missing", [13, 40, 1000])
def test_a_png_that_is_cut_off_within_its_rows_is_refused(missing):
    with pytest.raises(BrokenImage, match="cut off, and rows of pixels are missing"):
        decode(encoded(PICTURE, "PNG")[:-missing])


@pytest.mark.parametrize("colour", [128, 0])
def test_flat_rows_at_the_end_are_not_taken_for_missing_ones(colour):
    assert seen(encoded(Image.new("L", (320, 240), colour))[:-2]) == seen(encoded(Image.new("L", (320, 240), colour)))


def test_damage_within_a_jpeg_of_which_no_row_is_missing_is_shown_as_it_is():
    data = bytearray(jpeg(1))
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    assert decode(bytes(data)).width == 320
