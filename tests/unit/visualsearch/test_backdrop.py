"""What transparent pictures are searched on: white, or black if they could not be seen on white."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.pictures import encoded
from visualsearch.domain.images import Box
from visualsearch.imaging.preprocessing import decode, prepare, thumbnail

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def logo(colour, shape="ellipse", side=200, alpha=255) -> Image.Image:
    """A shape in the middle of nothing."""
    picture = Image.new("RGBA", (side, side))
    getattr(ImageDraw.Draw(picture), shape)((side // 4, side // 4, side * 3 // 4, side * 3 // 4), (*colour, alpha))
    return picture


def corner(picture: Image.Image, kind="PNG", **options) -> tuple[int, ...]:
    """The colour that shows where a picture is transparent."""
    return tuple(decode(encoded(picture, kind, **options)).pixels[2, 2].tolist())


@pytest.mark.parametrize("colour", [WHITE, (230, 230, 230), (255, 255, 204), (255, 221, 221), (220, 240, 255)])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 80})])
def test_a_pale_drawing_is_seen_on_black(colour, kind, options):
    assert corner(logo(colour), kind, **options) == BLACK


@pytest.mark.parametrize("colour", [BLACK, (200, 200, 200), (255, 255, 0), (255, 180, 180), (0, 255, 255)])
def test_any_other_drawing_is_seen_on_white(colour):
    assert corner(logo(colour)) == WHITE


def test_a_faint_shadow_is_seen_on_white():
    assert corner(logo(BLACK, alpha=30)) == WHITE


def test_white_with_dark_outlines_is_seen_on_white():
    picture = logo(WHITE)
    ImageDraw.Draw(picture).ellipse((50, 50, 150, 150), outline=BLACK, width=3)
    assert corner(picture) == WHITE


def test_colours_that_no_one_sees_do_not_count():
    picture = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    picture.paste((255, 255, 255, 255), (50, 50, 150, 150))
    assert corner(picture) == BLACK


def test_a_picture_of_nothing_is_white():
    assert decode(encoded(Image.new("RGBA", (64, 64)), "PNG")).pixels.min() == 255


def test_pale_drawings_of_different_shapes_are_no_near_duplicates():
    shapes = [prepare(encoded(logo(WHITE, shape), "PNG")) for shape in ("ellipse", "rectangle")]
    star = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(star).regular_polygon((100, 100, 70), 3, fill=WHITE)
    hashes = [one.phash for one in [*shapes, prepare(encoded(star, "PNG"))]]
    assert min((one ^ other).bit_count() for one in hashes for other in hashes if one != other) > 6
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("side", [40, 64, 300, 1000])
def test_a_drawing_has_one_backdrop_in_every_size(side):
    for grey in range(200, 240, 4):
        assert corner(logo((grey, grey, grey), side=side)) == corner(logo((grey, grey, grey)))


@pytest.mark.parametrize("size", [16, 64, 168, 1024])
def test_a_thumbnail_shows_the_backdrop_that_is_searched(size):
    for grey in (255, 220, 214, 100):
        data = encoded(logo((grey, grey, grey)), "PNG")
        small = np.asarray(Image.open(BytesIO(thumbnail(data, size))), int)
        assert np.abs(small[1, 1] - decode(data).pixels[2, 2]).max() <= 8


def test_a_box_is_searched_as_if_it_had_been_cut_out():
    sheet = Image.new("RGBA", (400, 200))
    sheet.paste(logo(WHITE), (0, 0))
    sheet.paste(logo((150, 0, 0)), (200, 0))
    data = encoded(sheet, "PNG")
    for box in (Box(0, 0, 200, 200), Box(200, 0, 400, 200)):
        alone = encoded(sheet.crop((box.x1, box.y1, box.x2, box.y2)), "PNG")
        assert np.array_equal(decode(data, box).pixels, decode(alone).pixels)


def test_a_palette_and_a_clear_colour_have_a_backdrop_too():
    palette = Image.new("P", (40, 40), 0)
    palette.paste(1, (10, 10, 30, 30))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    assert corner(palette, transparency=0) == BLACK
    grey = Image.new("L", (40, 40), 0)
    grey.paste(255, (10, 10, 30, 30))
    assert corner(grey, transparency=0) == BLACK
