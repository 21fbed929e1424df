"""Whether two pictures are near-duplicates: the one rule, for folding results and for finding duplicates. Numpy only.

Two pictures are near-duplicates if their perceptual hashes, their embeddings and their colour layouts all say so. The
rule is symmetric: which of the two is asked for does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.colour_layout import ColourLayouts

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_BITS = 64
NEAR_DUPLICATE_DISTANCE = 10
"""Largest Hamming distance of two 64-bit pHashes of near-duplicates: 1 false pair in 10,000 by the hash alone."""
CLOSE_DISTANCE = 4
"""Hamming distance up to which a hash says much. Different drawings of one style are often 5 to 10 bits apart."""
NEVER = 2.0
"""A cosine that no pictures reach."""
NEAR_DUPLICATE_COSINE = 0.4
"""Lowest cosine of the embeddings of near-duplicates, for releases whose model card has no calibrated one."""


@dataclass(frozen=True, slots=True)
class NearDuplicateRule:
    """``distance`` is in bits. ``cosine`` is that of the release whose embeddings are compared."""

    distance: int = NEAR_DUPLICATE_DISTANCE
    cosine: float = NEAR_DUPLICATE_COSINE

    def confirm(
        self,
        distances: NDArray[np.uint8],
        cosines: NDArray[np.float32] | None,
        layouts: ColourLayouts | None,
        one: NDArray[np.intp],
        other: NDArray[np.intp],
    ) -> NDArray[np.bool_]:
        """Return which pairs of pictures are near-duplicates: bool [pairs].

        ``distances`` (uint8, bits) and ``cosines`` (float32) are those of the pairs, ``one`` and ``other`` their places
        in ``layouts``. What is None, or a layout that a picture lacks, is not compared.
        """
        least = _least_cosines(self.distance, self.cosine)[distances]
        if layouts is not None:
            least = np.where(layouts.plain(one, other), np.maximum(least, twice_as_close(self.cosine)), least)
        found: NDArray[np.bool_] = least < NEVER if cosines is None else cosines >= least
        return found if layouts is None else found & layouts.agree(one, other)


def twice_as_close(cosine: float) -> float:
    """Return the cosine that is needed in place of this one where hashes say less."""
    return (1 + cosine) / 2


@lru_cache(maxsize=16)
def _least_cosines(distance: int, cosine: float) -> NDArray[np.float32]:
    """Return the cosine that pictures need by the distance of their hashes in bits."""
    bits = np.arange(np.iinfo(np.uint8).max + 1)
    least = np.where(bits <= CLOSE_DISTANCE, cosine, twice_as_close(cosine))
    return np.where(bits <= distance, least, NEVER).astype(np.float32)


def hash_distances(
    phashes: NDArray[np.uint64], mirrored: NDArray[np.uint64], leaders: NDArray[np.intp] | slice
) -> NDArray[np.uint8]:
    """Return the Hamming distance of each picture, or its mirror image, to those at ``leaders``: uint8 [leaders, n].

    ``phashes`` and ``mirrored`` (the hashes of the mirror images) are uint64 [n]. The hash of a mirror image is not
    the mirror of a hash, so that mirroring either picture may give another distance. The smaller one counts.
    """
    straight, turned = phashes[leaders, None], mirrored[leaders, None]
    bits: NDArray[np.uint8] = np.bitwise_count(phashes ^ straight)
    np.minimum(bits, np.bitwise_count(mirrored ^ straight), out=bits)
    np.minimum(bits, np.bitwise_count(phashes ^ turned), out=bits)
    return bits
