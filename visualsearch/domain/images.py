"""Images: pixels, boxes, catalog rows and the limits of an upload. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

EMBEDDING_DIM = 256
UNIT_NORM_TOLERANCE = 1e-3
"""An embedding whose length differs from 1 by more than this is broken."""

IMAGE_SIDE = 224
"""Width and height in pixels of what the encoder reads."""
MAX_UPLOAD_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MIN_SIDE = 16


class Status(StrEnum):
    """Where an image stands on its way into the index."""

    PENDING = "pending"
    INDEXED = "indexed"
    REJECTED = "rejected"


class Visibility(StrEnum):
    """Who may find an image: everybody, or its owner alone."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Box:
    """A region in pixels of the upright picture; ``x2`` and ``y2`` are exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y2 - self.y1

    def __str__(self) -> str:
        return f"{self.x1},{self.y1},{self.x2},{self.y2}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture made ready for the encoder.

    ``pixels`` is uint8 [224, 224, 3], RGB. ``width`` and ``height`` are those of the whole upright picture, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Prepared(Decoded):
    """A picture made ready for the index.

    ``phash`` and ``phash_mirrored`` are 64-bit perceptual hashes (0 .. 2**64-1) of what was asked for, and of its
    mirror image.
    """

    phash: int
    phash_mirrored: int


@dataclass(frozen=True, slots=True)
class NewImage:
    """What is known of an image when it is accepted, before anybody has decoded it."""

    uri: str
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    content_hash: bytes | None = None
    """SHA-256 of the file, 32 bytes."""
    etag: str = ""
    """Entity tag that the object will have; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Image:
    """One row of the catalog."""

    id: int
    uri: str
    width: int | None
    height: int | None
    created_at: datetime
    status: Status
    reason: str | None = None
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    content_hash: bytes | None = None
    """SHA-256 of the file, 32 bytes."""
    etag: str = ""
    """Entity tag of the object that this row speaks of; empty where nobody has said it."""


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """What a result shows of an indexed image beside its score; sizes are in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """What indexing found out about an image: written to the catalog before its vector becomes searchable."""

    image_id: int
    width: int
    height: int
    phash: int
    content_hash: bytes
    etag: str = ""


def stack_pixels(decoded: Sequence[Decoded]) -> NDArray[np.uint8]:
    """Put pictures into one batch, uint8 [n, 224, 224, 3]."""
    return np.stack([one.pixels for one in decoded])
