"""The contact sheet: one picture with a query, its box and its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from visualsearch.imaging.preprocessing import dimensions, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visualsearch.domain.images import Box

TILE = 168
"""Side in pixels of one result's picture."""
GAP = 14
CAPTION = 26
COLUMNS = 6
QUERY_TILES = 2
"""Width and height of the query's picture, in tiles."""

PAPER, INK, FAINT, ACCENT = "#ffffff", "#16181d", "#7a7f8a", "#e60023"


@dataclass(frozen=True, slots=True)
class Tile:
    """One result on the sheet. ``picture`` is its thumbnail; ``folded`` is the number of its near-duplicates."""

    picture: bytes
    rank: int
    score: float
    folded: int


def contact_sheet(query: Path, box: Box | None, tiles: Sequence[Tile], title: str) -> Image.Image:
    """Draw a query at the top left with its box in red, and the results in reading order around it."""
    cells = [cell for cell in _cells() if cell[0] >= QUERY_TILES or cell[1] >= QUERY_TILES]
    places = cells[: len(tiles)]
    rows = max([QUERY_TILES, *(row + 1 for _, row in places)])
    size = (GAP + COLUMNS * (TILE + GAP), GAP + CAPTION + rows * (TILE + CAPTION + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, fill=INK, font=ImageFont.load_default(15))
    _draw_query(sheet, draw, query, box)
    for tile, (column, row) in zip(tiles, places, strict=True):
        _draw_tile(sheet, draw, tile, *_corner(column, row))
    return sheet


def _cells() -> list[tuple[int, int]]:
    """Return (column, row) of every cell in reading order, enough for the largest answer."""
    rows = math.ceil(200 / COLUMNS) + QUERY_TILES
    return [(column, row) for row in range(rows) for column in range(COLUMNS)]


def _corner(column: int, row: int) -> tuple[int, int]:
    return GAP + column * (TILE + GAP), GAP + CAPTION + row * (TILE + CAPTION + GAP)


def _draw_query(sheet: Image.Image, draw: ImageDraw.ImageDraw, query: Path, box: Box | None) -> None:
    side = QUERY_TILES * TILE + (QUERY_TILES - 1) * GAP
    data = query.read_bytes()
    width, height = dimensions(data)
    scale = min(side / width, side / height)
    with Image.open(BytesIO(thumbnail(data, side))) as picture:
        shown = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    left, top = _corner(0, 0)
    left, top = left + (side - shown.width) // 2, top + (side - shown.height) // 2
    sheet.paste(shown, (left, top))
    if box:
        edges = (left + box.x1 * scale, top + box.y1 * scale, left + box.x2 * scale - 1, top + box.y2 * scale - 1)
        draw.rectangle(edges, outline=ACCENT, width=3)
    below = _corner(0, 0)[1] + side + 5
    draw.text((GAP, below), "query" + (f"  box {box}" if box else ""), fill=ACCENT, font=ImageFont.load_default(14))


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    with Image.open(BytesIO(tile.picture)) as opened:
        shown = ImageOps.contain(opened, (TILE, TILE))
    sheet.paste(shown, (left + (TILE - shown.width) // 2, top + (TILE - shown.height) // 2))
    draw.text((left, top + TILE + 5), f"{tile.rank}", fill=FAINT, font=ImageFont.load_default(14))
    text = f"{tile.score:.3f}" + (f"  +{tile.folded}" if tile.folded else "")
    draw.text((left + 26, top + TILE + 5), text, fill=INK, font=ImageFont.load_default(14))
