"""Every odd picture, by name."""

from functools import cache

from tests.odd_pictures.animations import animations
from tests.odd_pictures.bitmaps import bitmaps
from tests.odd_pictures.damaged import damaged
from tests.odd_pictures.jpegs import jpegs
from tests.odd_pictures.odd_picture import OddPicture
from tests.odd_pictures.pngs import pngs
from tests.odd_pictures.webps import webps


@cache
def odd_pictures() -> dict[str, OddPicture]:
    """A few hundred files, made anew in each run."""
    return {**jpegs(), **pngs(), **webps(), **animations(), **bitmaps(), **damaged()}
