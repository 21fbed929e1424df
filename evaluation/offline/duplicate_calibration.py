"""Calibrates at which cosine an encoder's embeddings are those of copies.

Cosines of two encoders mean different things. The cosine is therefore measured for each: almost all copies of known
pictures must reach it, and as few nearest neighbours as possible, which are different pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.offline.copies import COPIES, SMALLEST, encoded
from evaluation.offline.edits import on_white
from evaluation.offline.sets import picture_files
from visualsearch.domain.colour_layout import ColourLayouts
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import stack_pixels
from visualsearch.domain.near_duplicates import CLOSE_DISTANCE, NEAR_DUPLICATE_DISTANCE, NearDuplicateRule
from visualsearch.imaging.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

BATCH = 16
SAMPLE = 120
MISSED = 0.003
"""Share of these pictures' copies that may fall below the cosine, if there were no margin."""
MARGIN = 0.05
"""How much lower the cosine is set: the quantile differs by .03 between two parts of the demo corpus."""
ANY_COSINE = NearDuplicateRule(cosine=-np.inf)


@dataclass(frozen=True, slots=True)
class ComparedPictures:
    """What near-duplicates are judged by, of n pictures: hashes uint64 [n], embeddings float32 [n, 256], layouts."""

    phashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    embeddings: NDArray[np.float32]
    layouts: list[bytes]

    @classmethod
    def of(cls, files: Sequence[bytes], encode: Encode) -> ComparedPictures:
        """Hash and embed picture files."""
        prepared = [prepare(data) for data in files]
        parts = [encode(stack_pixels(prepared[at : at + BATCH])) for at in range(0, len(prepared), BATCH)]
        return cls(
            np.array([one.phash for one in prepared], np.uint64),
            np.array([one.phash_mirrored for one in prepared], np.uint64),
            np.concatenate(parts),
            [one.colours for one in prepared],
        )

    @classmethod
    def joined(cls, parts: Sequence[ComparedPictures]) -> ComparedPictures:
        """Join the pictures of several."""
        return cls(
            np.concatenate([one.phashes for one in parts]),
            np.concatenate([one.mirrored for one in parts]),
            np.concatenate([one.embeddings for one in parts]),
            [layout for one in parts for layout in one.layouts],
        )

    @property
    def strengths(self) -> NDArray[np.float32]:
        """How colourful the pictures are: the root mean square of their chroma in grey levels, float32 [n]."""
        return ColourLayouts.of(self.layouts).strength

    def taken(self, places: NDArray[np.intp]) -> ComparedPictures:
        """Return the pictures at these places."""
        layouts = [self.layouts[place] for place in places.tolist()]
        return ComparedPictures(self.phashes[places], self.mirrored[places], self.embeddings[places], layouts)

    def distances(self, other: ComparedPictures) -> NDArray[np.uint8]:
        """Return the distance in bits of each picture to the one at the same place of ``other``: uint8 [n]."""
        ways = (self.phashes ^ other.phashes, self.phashes ^ other.mirrored, self.mirrored ^ other.phashes)
        bits: NDArray[np.uint8] = np.min([np.bitwise_count(way) for way in ways], axis=0)
        return bits

    def cosines(self, other: ComparedPictures) -> NDArray[np.float32]:
        """Return the cosine of each picture with the one at the same place of ``other``: float32 [n]."""
        found: NDArray[np.float32] = np.einsum("ij,ij->i", self.embeddings, other.embeddings)
        return found

    def discounted(self, other: ComparedPictures) -> NDArray[np.float32]:
        """Return those cosines, less where the hashes say little, as the rule of near-duplicates compares them."""
        unsure = (self.distances(other) > CLOSE_DISTANCE) | self._layouts(other).plain(*self._places)
        cosines = self.cosines(other)
        # The inverse of ``twice_as_close``: at which cosine of the release this one would suffice.
        found: NDArray[np.float32] = np.where(unsure, 2 * cosines - 1, cosines)
        return found

    def near(self, other: ComparedPictures, rule: NearDuplicateRule) -> NDArray[np.bool_]:
        """Return which pictures are near-duplicates of the one at the same place of ``other``: bool [n]."""
        return rule.confirm(self.distances(other), self.cosines(other), self._layouts(other), *self._places)

    def _layouts(self, other: ComparedPictures) -> ColourLayouts:
        return ColourLayouts.of([*self.layouts, *other.layouts])

    @property
    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where these pictures and the others lie in ``_layouts``."""
        places = np.arange(len(self.layouts))
        return places, places + len(places)


def calibration_pictures(folder: Path) -> list[Image.Image]:
    """Return up to ``SAMPLE`` pictures of a folder, in RGB, evenly drawn from the order of their names.

    Unreadable and tiny pictures are skipped. Raises ``InvalidInput`` if there is none.
    """
    files = list(picture_files(folder).values())
    step = max(1, len(files) // SAMPLE)
    readable = filter(None, map(_opened, files[step // 2 :: step][:SAMPLE]))
    if pictures := [picture for picture in readable if min(picture.size) >= SMALLEST]:
        return pictures
    raise InvalidInput(f"{folder} holds no picture that can be read.")


def _opened(file: Path) -> Image.Image | None:
    try:
        return on_white(file)
    except OSError:
        return None


def calibrate(pictures: Sequence[Image.Image], encode: Encode) -> dict[str, Any]:
    """Return the cosine of near-duplicates for an encoder, and how often it is wrong about these pictures.

    ``encode`` embeds uint8 [n, 224, 224, 3] as float32 [n, 256] of unit length.
    """
    originals = ComparedPictures.of([encoded(one) for one in pictures], encode)
    found = []
    for edit in COPIES.values():
        copies = ComparedPictures.of([edit(one) for one in pictures], encode)
        near = originals.near(copies, ANY_COSINE)
        found.append(originals.discounted(copies)[near])
    cosines = np.concatenate(found)
    cosine = round(float(np.quantile(cosines, MISSED)) - MARGIN, 2)
    neighbours = originals.embeddings @ originals.embeddings.T
    np.fill_diagonal(neighbours, -1)
    return {
        "cosine": cosine,
        "copies": len(cosines),
        "copies_below": round(float((cosines < cosine).mean()), 4),
        "nearest_neighbours": len(pictures),
        "nearest_neighbours_above": round(float((neighbours.max(1) >= cosine).mean()), 4),
        "hash_bits": NEAR_DUPLICATE_DISTANCE,
    }
