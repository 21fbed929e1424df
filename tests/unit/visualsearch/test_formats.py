"""Every format that is accepted: what of a file is searched, and how the rest of the product learns of it."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.pictures import crafted_others
from tests.fuzz.pictures.formats import Part, chunks, png_of
from tests.pictures import encoded, noise
from visualsearch.domain.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from visualsearch.imaging.decoding_cost import TooExpensiveHere
from visualsearch.imaging.formats import heic
from visualsearch.imaging.formats.table import FORMATS, content_type
from visualsearch.imaging.opening import cheaply
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import decode, dimensions, prepare, thumbnail

HEIC = Path(__file__).parents[2] / "data" / "heic"
SIZE = (96, 72)
PICTURE = noise(1, *SIZE)
PLUGINS = {"JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"}
"""What Pillow can write."""


def heic_file(name="picture"):
    return (HEIC / f"{name}.heic").read_bytes()


def file_of(plugin, **options):
    return heic_file() if plugin == "HEIF" else encoded(PICTURE, plugin, **options)


def difference(data, picture=PICTURE):
    seen = decode(data).pixels.astype(int)
    return float(np.abs(seen - decode(encoded(picture, "PNG")).pixels).mean())


@pytest.fixture(scope="module")
def pool():
    with PicturePool(2, timeout_s=60) as pool:
        yield pool


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
async def test_a_picture_looks_the_same_in_every_format(one, pool):
    data = file_of(one.plugin)
    assert content_type(data) == one.media_type
    prepared = await pool.run(prepare, data)
    assert (prepared.width, prepared.height) == SIZE
    assert difference(data) < (12 if one.name == "GIF" else 5)  # 256 colours
    small = Image.open(BytesIO(await pool.run(thumbnail, data, 64)))
    assert (small.format, small.size) == ("JPEG", (64, 48))


@pytest.mark.parametrize("plugin", ["WEBP", "PNG", "GIF", "AVIF"])
def test_of_an_animation_the_first_frame_is_searched(plugin):
    moving = encoded(PICTURE, plugin, save_all=True, append_images=[noise(2, *SIZE), noise(3, *SIZE)], duration=100)
    assert Image.open(BytesIO(moving)).n_frames == 3
    assert dimensions(moving) == SIZE
    assert difference(moving) < 12


def test_of_an_animation_with_a_picture_for_old_programs_its_first_frame_is_searched():
    frames = {"save_all": True, "append_images": [PICTURE, noise(3, *SIZE)], "default_image": True}
    assert difference(encoded(noise(2, *SIZE), "PNG", **frames)) < 1


def test_of_a_tiff_the_first_page_is_searched():
    assert difference(encoded(PICTURE, "TIFF", save_all=True, append_images=[noise(2, 300, 200)])) < 1


def test_of_a_heic_file_the_primary_picture_is_searched():
    assert difference(heic_file("two_pictures")) < 5


def test_what_a_gifs_first_frame_leaves_free_of_its_canvas_is_transparent():
    data = bytearray(encoded(Image.new("RGB", (40, 40), (200, 0, 0)), "GIF"))
    data[6:10] = (80).to_bytes(2, "little") * 2
    assert dimensions(bytes(data)) == (80, 80)
    pixels = decode(bytes(data)).pixels
    assert pixels[20, 20].tolist() == [200, 0, 0]
    assert pixels[200, 200].tolist() == [255, 255, 255]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
def test_a_tiff_is_read_whatever_its_compression(compression):
    picture = PICTURE.convert("1") if compression == "group4" else PICTURE
    assert difference(encoded(picture, "TIFF", compression=compression), picture.convert("RGB")) < 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_tiff_is_read_whatever_its_mode(mode):
    grey = Image.new("L", (40, 40), 255)
    picture = Image.new("I;16", (40, 40), 65535) if mode == "I;16" else grey.convert("RGB").convert(mode)
    assert decode(encoded(picture, "TIFF")).pixels.min() > 250


@pytest.mark.parametrize("plugin", ["TIFF", "AVIF", "PNG", "JPEG"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_a_turned_picture_is_upright_once_and_not_twice(plugin, turn):
    tags = Image.Exif()
    tags[0x0112] = turn
    lying = PICTURE.rotate({1: 0, 3: 180, 6: 90, 8: 270}[turn], expand=True)
    data = encoded(lying, plugin, exif=tags)
    assert dimensions(data) == SIZE
    assert difference(data) < 5


def test_a_heic_picture_is_turned_as_its_container_says():
    assert dimensions(heic_file("turned")) == SIZE[::-1]
    assert difference(heic_file("turned"), PICTURE.rotate(270, expand=True)) < 5


def test_a_heic_picture_of_ten_bits_is_read():
    assert difference(heic_file("ten_bits")) < 5


def test_the_transparency_of_a_heic_picture_is_seen():
    clear = PICTURE.convert("RGBA")
    clear.putalpha(noise(4, *SIZE).convert("L"))
    assert difference(heic_file("clear"), clear) < 6


def test_without_its_decoder_a_heic_picture_is_named_and_the_extra_too(monkeypatch):
    monkeypatch.setattr(heic, "AVAILABLE", False)
    with pytest.raises(UnsupportedImage, match=r"a HEIC picture.*extra 'heic'"):
        decode(heic_file())


@pytest.mark.parametrize("rle", [1, 2])
def test_a_run_length_encoded_bmp_is_read(rle):
    palette = PICTURE.quantize(16)
    data = bytearray(encoded(palette, "BMP"))
    rows = np.flipud(np.asarray(palette))
    shift = 0 if rle == 1 else 4
    runs = b"".join(b"".join(bytes([1, value << shift]) for value in row) + b"\0\0" for row in rows)
    data[30:34] = rle.to_bytes(4, "little")
    start = int.from_bytes(data[10:14], "little")
    data[28:30] = (8 if rle == 1 else 4).to_bytes(2, "little")
    file = bytes(data[:start]) + runs + b"\0\1"
    with pytest.raises(TooExpensiveHere):
        cheaply(decode, file)
    assert difference(file, palette.convert("RGB")) < 1


@pytest.mark.parametrize("plugin", ["HEIF", "AVIF", "TIFF"])
def test_a_large_decoder_runs_apart_however_small_the_picture(plugin):
    costs = []
    with pytest.raises(TooExpensiveHere):
        cheaply(dimensions, file_of(plugin), weigh=costs.append)
    assert len(costs) == 1
    assert costs[0] > SIZE[0] * SIZE[1]


@pytest.mark.parametrize("plugin", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_small_picture_of_the_other_formats_is_weighed_once_and_decoded_here(plugin):
    costs = []
    assert cheaply(dimensions, file_of(plugin), weigh=costs.append) == SIZE
    assert len(costs) == 1


@pytest.mark.parametrize("plugin", sorted(PLUGINS | {"HEIF"}))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_file_of_which_the_end_is_missing_is_refused(plugin, share):
    data = file_of(plugin)
    with pytest.raises((BrokenImage, UnsupportedImage)):
        decode(data[: int(len(data) * share)])


def test_a_picture_of_too_many_frames_or_blocks_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.delattr(Image, "open")
    gif = encoded(PICTURE, "GIF")
    comment = b"!\xfe" + b"\1a" * 60_000 + b"\0"
    start = 13 + (6 << (gif[10] & 7) if gif[10] & 0x80 else 0)
    webp = encoded(PICTURE, "WEBP") + b"ANMF\0\0\0\0" * 60_000
    for data in (gif[:start] + comment + gif[start:], webp):
        with pytest.raises(BrokenImage, match="more than 50,000"):
            dimensions(data)


def test_a_gif_whose_first_frame_lies_far_beside_its_canvas_is_refused_before_memory_is_taken_for_it(monkeypatch):
    data = crafted_others.gif_frame(65_000, 65_000, 65_000, 65_000)
    monkeypatch.delattr(Image, "open")
    with pytest.raises(ImageTooLarge, match="of a GIF"):
        dimensions(data)


@pytest.mark.parametrize("plugin", ["HEIF", "AVIF"])
def test_a_heif_file_of_countless_boxes_is_refused_before_it_is_read(plugin):
    with pytest.raises(BrokenImage, match="more than 20,000 boxes"):
        dimensions(file_of(plugin) + b"\0\0\0\x08free" * 30_000)


def test_a_png_of_which_a_frame_is_damaged_still_has_its_first():
    moving = chunks(encoded(PICTURE, "PNG", save_all=True, append_images=[noise(2, *SIZE)]))
    damaged = [Part(part.kind, b"nonsense") if part.kind == b"fdAT" else part for part in moving]
    assert difference(png_of(damaged)) < 1
