"""Colour layouts: the mean colours of a picture's parts, for telling pictures of one pattern apart. Numpy only.

A perceptual hash sees lightness alone: a shirt has the same hash in red, in blue and in black. A layout holds what the
hash ignores. Typical edits change all colours alike: JPEG hardly, contrast and brightness by a common factor, and
grey removes them but keeps the lightness. Another colour of the same thing changes their direction instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE = 4
"""Rows and columns of a layout. A crop to 90% moves each part by less than half of its size."""
PARTS = SIDE * SIDE
LAYOUT_BYTES = 3 * PARTS + 1
"""RGB of each part, row by row, then the detail."""
DETAIL_SCALE = 2.0
"""The detail is stored in halves of a grey level."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MIRRORED = np.arange(PARTS).reshape(SIDE, SIDE)[:, ::-1].ravel()

# The limits were chosen on openclipart and opencv-doc; benchmarks.folding reports them on other pictures.
PLAIN = 4.0
"""Detail in grey levels under which a picture is nearly empty. JPEG's noise then decides on bits of its hash."""
PLAIN_DIFFERENCE = 10.0
"""Largest difference of any part and channel between nearly empty pictures that are copies, in grey levels."""
COLOURLESS = 2.0
"""Chroma (root mean square, in grey levels) under which a picture counts as grey. JPEG gives a grey picture less."""
SAME_HUES = 0.75
"""Lowest cosine of the chroma of two copies. Edits reach .87 and more, hues turned by 60 degrees .57 and less."""
FADED = 0.4
"""Lowest ratio of the chroma of two copies, and of their contrast: brightness x1.3 on a pale picture reaches it."""
GREY_DIFFERENCE = 10.0
"""Largest difference in lightness (root mean square, in grey levels) between a picture and its grey copy."""


def colour_layout(pixels: NDArray[np.uint8]) -> bytes:
    """Return the layout of a picture, uint8 [h, w, 3] RGB, h and w multiples of ``SIDE``: ``LAYOUT_BYTES`` bytes."""
    height, width, _ = pixels.shape
    # One axis after the other: numpy takes 20 times as long for both at once.
    rows = pixels.reshape(SIDE, height // SIDE, 3 * width).sum(1, dtype=np.uint32)
    parts = rows.reshape(SIDE, SIDE, width // SIDE, 3).sum(2) * PARTS / (height * width)
    detail = min(255.0, DETAIL_SCALE * float((pixels @ LUMA).std()))
    layout: bytes = np.rint(np.append(parts.ravel(), detail)).astype(np.uint8).tobytes()
    return layout


def pack(layouts: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Return which of n layouts are known, bool [n], and all of them as uint8 [n, ``LAYOUT_BYTES``]."""
    known = np.array([len(one) == LAYOUT_BYTES for one in layouts], bool)
    rows = b"".join(one if len(one) == LAYOUT_BYTES else bytes(LAYOUT_BYTES) for one in layouts)
    return known, np.frombuffer(rows, np.uint8).reshape(-1, LAYOUT_BYTES)


@dataclass(frozen=True, slots=True)
class ColourLayouts:
    """The layouts of n pictures, in columns; ``known`` is false where a picture has none.

    ``colours`` is float32 [n, parts, 3], ``luma`` [n, parts], ``chroma`` [n, parts, 2], ``strength`` (of the chroma),
    ``contrast`` and ``detail`` [n]; all in grey levels.
    """

    known: NDArray[np.bool_]
    colours: NDArray[np.float32]
    luma: NDArray[np.float32]
    chroma: NDArray[np.float32]
    strength: NDArray[np.float32]
    contrast: NDArray[np.float32]
    detail: NDArray[np.float32]

    @classmethod
    def of(cls, layouts: Sequence[bytes]) -> Self:
        """Unpack what ``colour_layout`` returned; empty bytes are pictures without a layout."""
        return cls.unpacked(*pack(layouts))

    @classmethod
    def unpacked(cls, known: NDArray[np.bool_], packed: NDArray[np.uint8]) -> Self:
        """Unpack rows of ``pack``."""
        values = packed.astype(np.float32)
        colours = values[:, :-1].reshape(-1, PARTS, 3)
        luma = colours @ LUMA
        chroma = colours[:, :, [0, 2]] - luma[:, :, None]
        strength = np.sqrt(np.square(chroma).sum(2).mean(1))
        return cls(known, colours, luma, chroma, strength, luma.std(1), values[:, -1] / DETAIL_SCALE)

    def plain(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return for each pair of positions whether either picture is nearly empty: bool [pairs]."""
        found: NDArray[np.bool_] = self.known[one] & self.known[other]
        found &= np.minimum(self.detail[one], self.detail[other]) < PLAIN
        return found

    def agree(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return for each pair of positions whether their colours can be those of copies, or mirrored copies.

        Symmetric. A pair without both layouts agrees.
        """
        unknown = ~(self.known[one] & self.known[other])
        straight = self._match(one, other, np.arange(PARTS))
        return unknown | straight | self._match(one, other, MIRRORED)

    def _match(self, one: NDArray[np.intp], other: NDArray[np.intp], parts: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Compare pictures with others whose parts are in this order."""
        weaker, stronger = _sorted(self.strength[one], self.strength[other])
        product = np.einsum("ijk,ijk->i", self.chroma[one], self.chroma[other][:, parts]) / PARTS
        hues = (product >= SAME_HUES * weaker * stronger) & (weaker >= FADED * stronger)
        lightness = np.square(self.luma[one] - self.luma[other][:, parts]).mean(1) <= GREY_DIFFERENCE**2
        lower, higher = _sorted(self.contrast[one], self.contrast[other])
        grey = np.where(stronger < COLOURLESS, lightness | (lower >= FADED * higher), lightness)
        matching = np.where(weaker >= COLOURLESS, hues, grey)
        equal = abs(self.colours[one] - self.colours[other][:, parts]).max((1, 2), initial=0) <= PLAIN_DIFFERENCE
        found: NDArray[np.bool_] = np.where(self.plain(one, other), equal, matching)
        return found


def _sorted(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.minimum(one, other), np.maximum(one, other)
