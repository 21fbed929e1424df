"""The contact sheet shows the query as it is searched."""

import numpy as np
import pytest
from PIL import Image

from tests.odd_pictures.catalogue import odd_pictures
from tests.pictures import encoded
from visualsearch.domain.images import Box
from visualsearch.imaging.contact_sheet import CAPTION, GAP, QUERY_TILES, TILE, Tile, contact_sheet

SIDE = QUERY_TILES * TILE + (QUERY_TILES - 1) * GAP


def drawn_query(tmp_path, data: bytes, box: Box | None = None) -> Image.Image:
    file = tmp_path / "query"
    file.write_bytes(data)
    tile = Tile(encoded(Image.new("RGB", (60, 40), "red")), 1, 0.5, 2)
    sheet = contact_sheet(file, box, [tile], "a query")
    return sheet.crop((GAP, GAP + CAPTION, GAP + SIDE, GAP + CAPTION + SIDE))


def test_it_is_upright_and_its_box_where_it_was_drawn(tmp_path):
    shown = np.asarray(drawn_query(tmp_path, odd_pictures()["JPEG, EXIF 6"].data, Box(0, 0, 64, 96)))
    columns = np.flatnonzero((shown == (230, 0, 35)).all(axis=2).any(axis=0))
    assert columns[[0, -1]] == pytest.approx([SIDE / 6, SIDE * 5 / 6], abs=2)


def test_a_white_drawing_can_be_seen(tmp_path):
    picture = Image.new("RGBA", (100, 100))
    picture.paste((255, 255, 255, 255), (40, 40, 60, 60))
    shown = drawn_query(tmp_path, encoded(picture, "PNG"))
    assert shown.getpixel((20, 40)) == (0, 0, 0)
    assert shown.getpixel((SIDE // 2, SIDE // 2)) == pytest.approx((255, 255, 255), abs=2)
