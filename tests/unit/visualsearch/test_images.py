"""Decoding of pictures, and bad input of every kind."""

import contextlib
import struct
import warnings
import zlib
from io import BytesIO

import imagehash
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.errors import BrokenImage, ImageTooLarge, InvalidBox, UnsupportedImage, VisualSearchError
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Box
from visualsearch.imaging.boxes import parse_box
from visualsearch.imaging.formats.table import content_type
from visualsearch.imaging.preprocessing import dimensions, fingerprint, prepare, thumbnail

ORIENTATION = 0x0112
KINDS = ["JPEG", "PNG", "WEBP"]
UNTURN = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture must lie in a file of each EXIF orientation."""


def difference(one, other) -> float:
    return float(np.abs(one.pixels.astype(int) - other.pixels.astype(int)).mean())


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def lying(picture: Image.Image, orientation: int, kind: str = "PNG", **options) -> bytes:
    turn = UNTURN[orientation]
    return encoded(picture.transpose(turn) if turn is not None else picture, kind, exif=exif(orientation), **options)


def mean_colour(data: bytes) -> list[int]:
    return prepare(data).pixels.reshape(-1, 3).mean(0).round().astype(int).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_becomes_224_pixels_square_and_its_size_is_kept(kind):
    prepared = prepare(encoded(noise(1, 320, 240), kind))
    assert prepared.pixels.shape == (224, 224, 3)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.pixels.flags.writeable
    assert (prepared.width, prepared.height) == (320, 240)


def test_the_same_picture_looks_the_same_in_every_format():
    picture = noise(2)
    png = prepare(encoded(picture, "PNG"))
    assert difference(png, prepare(encoded(picture, "JPEG", quality=95))) < 2
    assert difference(png, prepare(encoded(picture, "WEBP", quality=95))) < 3


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (2400, 700), (230, 1900)])
def test_a_jpeg_decoded_small_looks_as_if_decoded_whole(size):
    picture = noise(3, *size)
    assert difference(prepare(encoded(picture, "JPEG", quality=95)), prepare(encoded(picture, "PNG"))) < 2


@pytest.mark.parametrize("orientation", UNTURN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation, kind):
    picture = noise(4, 300, 200)
    options = {"quality": 95} if kind != "PNG" else {}
    data = lying(picture, orientation, kind, **options)
    prepared = prepare(data)
    assert (prepared.width, prepared.height) == dimensions(data) == (300, 200)
    assert difference(prepared, prepare(encoded(picture, "PNG"))) < 3
    assert Image.open(BytesIO(thumbnail(data, 100))).size == (100, 67)


@pytest.mark.parametrize("orientation", UNTURN)
@pytest.mark.parametrize("size", [(300, 200), (2000, 1600)])
def test_a_box_is_in_pixels_of_the_upright_picture(orientation, size):
    picture = noise(5, *size)
    corner = (0, 0, size[0] // 2, size[1] // 2)
    boxed = prepare(lying(picture, orientation, "JPEG", quality=95), Box(*corner))
    assert difference(boxed, prepare(encoded(picture.crop(corner), "PNG"))) < 3
    assert (boxed.width, boxed.height) == size


def test_a_box_of_the_whole_picture_changes_nothing():
    data = jpeg(6)
    whole = prepare(data, Box(0, 0, 320, 240))
    assert difference(whole, prepare(data)) == 0
    assert whole.phash == prepare(data).phash


def test_a_box_of_a_single_pixel_is_searched():
    assert prepare(jpeg(6), Box(319, 239, 320, 240)).pixels.std((0, 1)).max() == 0


@pytest.mark.parametrize(
    "box",
    [(-1, 0, 10, 10), (0, -1, 10, 10), (0, 0, 321, 240), (0, 0, 320, 241), (400, 300, 500, 400)],
)
def test_a_box_outside_the_picture_is_refused_with_the_pictures_size(box):
    with pytest.raises(InvalidBox, match="320x240"):
        prepare(jpeg(6), Box(*box))


def test_a_box_is_checked_against_the_upright_size_not_the_stored_one():
    data = lying(noise(4, 300, 200), 6)
    prepare(data, Box(250, 100, 300, 200))
    with pytest.raises(InvalidBox):
        prepare(data, Box(100, 250, 200, 300))


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (10, 10, 20, 10), (20, 10, 10, 20)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(InvalidBox, match="empty"):
        prepare(jpeg(6), Box(*box))
    with pytest.raises(InvalidBox, match="empty"):
        parse_box(",".join(map(str, box)))


def test_a_box_is_read_from_text():
    assert parse_box("1,2,30,40") == Box(1, 2, 30, 40)
    assert parse_box(" 1, 2 ,30,\t40 ") == Box(1, 2, 30, 40)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "1.5,2,3,4",
        "1;2;3;4",
        "nan,0,1,1",
        "1e2,0,300,4",
        "٣,0,9,9",
        "0,0,9,9999999999",
    ],
)
def test_a_malformed_box_is_refused_with_an_example(text):
    with pytest.raises(InvalidBox, match="x1,y1,x2,y2"):
        parse_box(text)


@pytest.mark.parametrize("text", ["-1,0,10,10", "0,-1,10,10"])
def test_a_box_that_begins_before_the_picture_is_refused(text):
    with pytest.raises(InvalidBox, match="outside"):
        parse_box(text)


def test_a_box_survives_being_written_and_read():
    assert parse_box(str(Box(3, 4, 50, 60))) == Box(3, 4, 50, 60)


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_the_media_type_is_found_by_content(kind, name):
    assert content_type(encoded(noise(1), kind)) == name


@pytest.mark.parametrize("kind", ["PPM", "ICO", "JPEG2000", "TGA"])
@pytest.mark.parametrize("use", [prepare, dimensions, content_type, lambda data: thumbnail(data, 64)])
def test_other_kinds_of_picture_are_unsupported(kind, use):
    with pytest.raises(UnsupportedImage, match="JPEG, PNG or WebP"):
        use(encoded(noise(1, 64, 64), kind))


@pytest.mark.parametrize(
    "data", [b"\0", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\xff\xd8"]
)
def test_a_file_that_is_no_picture_is_unsupported(data):
    with pytest.raises(UnsupportedImage):
        prepare(data)


def test_an_empty_file_is_said_to_be_empty():
    for use in (prepare, dimensions, content_type):
        with pytest.raises(BrokenImage, match="empty"):
            use(b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_truncated_picture_is_broken(kind, share):
    data = encoded(noise(7), kind)
    with pytest.raises(BrokenImage):
        prepare(data[: max(20, int(len(data) * share))])


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP"])
def test_a_picture_of_which_only_the_beginning_is_right_is_broken(magic):
    for rest in (b"", b"garbage" * 50):
        with pytest.raises(BrokenImage):
            prepare(magic + rest)


@pytest.mark.parametrize("position", [18, 35, 60, 5000, -20, -14])
def test_a_png_whose_checksums_do_not_fit_is_broken(position):
    data = bytearray(encoded(noise(7), "PNG"))
    data[position] ^= 0xFF
    with pytest.raises(BrokenImage):
        prepare(bytes(data))


def test_a_phones_jpeg_with_a_preview_is_a_still_picture():
    picture = noise(8)
    data = encoded(picture, "MPO", save_all=True, append_images=[noise(9)], quality=95)
    assert Image.open(BytesIO(data)).format == "MPO"
    assert content_type(data) == "image/jpeg"
    assert difference(prepare(data), prepare(encoded(picture, "PNG"))) < 2


@pytest.mark.parametrize("size", [(15, 200), (200, 15), (1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_under_16_pixels_is_refused(size, kind):
    with pytest.raises(BrokenImage, match="16 pixels or more"):
        prepare(encoded(noise(1, *size), kind))


def test_a_picture_of_16_pixels_is_accepted():
    assert prepare(encoded(noise(1, 16, 16), "PNG")).width == 16


def test_a_file_of_too_many_bytes_is_refused_without_decoding():
    with pytest.raises(ImageTooLarge, match="bytes"):
        prepare(jpeg(1) + bytes(MAX_UPLOAD_BYTES))


def test_a_file_just_below_the_limit_is_accepted():
    data = jpeg(1)
    assert prepare(data + bytes(MAX_UPLOAD_BYTES - len(data))).width == 320


def huge_png(width: int, height: int) -> bytes:
    """A small file whose header promises many pixels."""
    out = BytesIO()
    Image.new("1", (32, 32)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize("size", [(10_001, 10_000), (14_000, 14_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header_without_a_warning(size):
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        for use in (prepare, dimensions, lambda data: thumbnail(data, 64)):
            with pytest.raises(ImageTooLarge, match="pixels"):
                use(huge_png(*size))
    assert not leaked


def test_a_long_thin_picture_below_the_limit_is_accepted():
    assert prepare(encoded(Image.new("L", (40_000, 20), 128), "PNG")).pixels.mean() == 128


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("L", 100, [100, 100, 100]),
        ("1", 1, [255, 255, 255]),
        ("RGB", (10, 200, 30), [10, 200, 30]),
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (200, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (255, 0, 0, 128), [255, 127, 127]),
        ("LA", (0, 0), [255, 255, 255]),
        ("LA", (90, 255), [90, 90, 90]),
        ("I;16", 257 * 77, [77, 77, 77]),
        ("I;16", 65535, [255, 255, 255]),
    ],
)
def test_every_mode_of_a_png_is_seen_as_a_viewer_shows_it(mode, colour, seen):
    assert mean_colour(encoded(Image.new(mode, (40, 40), colour), "PNG")) == seen


def test_a_palette_is_seen_in_its_colours():
    assert mean_colour(encoded(Image.new("RGB", (40, 40), (10, 200, 30)).quantize(4), "PNG")) == [10, 200, 30]


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_is_seen_on_white(transparency):
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    assert mean_colour(encoded(palette, "PNG", transparency=transparency)) == [255, 255, 255]


def test_a_transparent_colour_of_rgb_is_seen_on_white():
    assert mean_colour(encoded(Image.new("RGB", (40, 40), (9, 9, 9)), "PNG", transparency=(9, 9, 9))) == [255, 255, 255]


def test_colour_under_full_transparency_does_not_bleed():
    picture = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (50, 0, 100, 100))
    pixels = prepare(encoded(picture, "PNG")).pixels.astype(int)
    assert (pixels[..., 2] >= pixels[..., 0] - 1).all()


def test_a_cmyk_jpeg_is_seen_in_its_colours():
    red, green, blue = mean_colour(encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 200
    assert max(green, blue) < 60


def test_a_grey_jpeg_is_grey():
    assert mean_colour(encoded(Image.new("L", (400, 400), 77), "JPEG")) == [77, 77, 77]


def test_an_srgb_profile_changes_next_to_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = noise(3)
    assert difference(prepare(encoded(picture, "PNG", icc_profile=profile)), prepare(encoded(picture, "PNG"))) < 1


@pytest.mark.parametrize("profile", [b"nonsense", bytes(200), b"x" * 2_000_000])
def test_an_unreadable_colour_profile_is_ignored(profile):
    assert difference(prepare(encoded(noise(3), icc_profile=profile)), prepare(encoded(noise(3)))) == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_ignored():
    picture = noise(3)
    data = encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12", quality=95)
    assert difference(prepare(data), prepare(encoded(picture, "PNG"))) < 2


def test_an_orientation_that_does_not_exist_is_ignored():
    assert prepare(encoded(noise(3), "PNG", exif=exif(77))).width == 320


def test_the_hash_is_the_perceptual_hash_of_the_region():
    prepared = prepare(encoded(noise(11), "PNG"))
    assert f"{prepared.phash:016x}" == str(imagehash.phash(Image.fromarray(prepared.pixels)))


def test_the_mirrored_hash_is_that_of_the_mirror_image():
    picture = noise(12)
    prepared = prepare(encoded(picture, "PNG"))
    mirrored = prepare(encoded(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"))
    assert (prepared.phash ^ mirrored.phash_mirrored).bit_count() <= 2
    assert (prepared.phash ^ mirrored.phash).bit_count() > 10


def test_hashes_of_a_picture_and_its_recompressed_half_are_near():
    picture = noise(13)
    half = prepare(encoded(picture.resize((160, 120)), quality=30))
    assert (prepare(encoded(picture, "PNG")).phash ^ half.phash).bit_count() <= 4


@pytest.mark.parametrize(("size", "wanted"), [(100, (100, 75)), (320, (320, 240)), (1000, (320, 240)), (1, (1, 1))])
def test_a_thumbnail_keeps_proportions_and_never_grows(size, wanted):
    assert Image.open(BytesIO(thumbnail(jpeg(1), size))).size == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_a_thumbnail_is_a_jpeg_without_metadata(kind):
    tags = exif(1)
    tags[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    small = thumbnail(encoded(noise(1), kind, exif=tags, icc_profile=profile, comment=b"a secret"), 128)
    assert content_type(small) == "image/jpeg"
    assert b"secret" not in small
    assert not {"exif", "icc_profile", "comment", "xmp"} & set(Image.open(BytesIO(small)).info)


def test_a_thumbnail_shows_transparency_as_white():
    small = Image.open(BytesIO(thumbnail(encoded(Image.new("RGBA", (64, 64)), "PNG"), 32)))
    assert small.getpixel((5, 5)) == (255, 255, 255)


def test_a_fingerprint_changes_with_the_model():
    assert fingerprint(b"one") != fingerprint(b"other")
    assert fingerprint(b"one") == fingerprint(b"one")
    assert len(fingerprint(b"one")) == 64


SEEDS = [
    encoded(noise(1, 48, 40), "JPEG", exif=exif(6)),
    encoded(noise(1, 48, 40), "JPEG", progressive=True),
    encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG"),
    encoded(noise(1, 48, 40), "PNG", exif=exif(8)),
    encoded(noise(1, 48, 40).quantize(16), "PNG", transparency=3),
    encoded(Image.new("I;16", (40, 40), 999), "PNG"),
    encoded(noise(1, 48, 40), "WEBP", exif=exif(3)),
    encoded(noise(1, 48, 40).convert("RGBA"), "WEBP", lossless=True),
]
CHANGES = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=8)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.sampled_from(SEEDS), changes=CHANGES, cut=st.integers(0, 4096), tail=st.binary(max_size=16))
def test_damaged_files_raise_nothing_but_our_errors(seed, changes, cut, tail):
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    mutated = bytes(data[: len(data) - cut % len(data)]) + tail if cut % 3 else bytes(data) + tail
    for use in (prepare, dimensions, lambda data: thumbnail(data, 32), lambda data: prepare(data, Box(1, 1, 30, 30))):
        with contextlib.suppress(VisualSearchError):  # any other exception fails the test
            assert use(mutated) is not None


@given(st.binary(max_size=64))
def test_any_bytes_raise_nothing_but_our_errors(data):
    with pytest.raises(VisualSearchError):
        prepare(data)


@given(st.text(max_size=20))
def test_any_text_is_a_box_or_refused(text):
    try:
        box = parse_box(text)
    except InvalidBox:
        return
    assert box.width > 0
    assert box.height > 0
