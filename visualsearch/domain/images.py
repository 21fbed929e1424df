"""Images: pixels, boxes, rows and upload limits. Standard library and numpy only."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from visualsearch.domain.errors import QuotaExceeded

EMBEDDING_DIM = 256
UNIT_NORM_TOLERANCE = 1e-3
"""Largest difference between an embedding's length and 1; any other embedding is unusable."""

IMAGE_SIDE = 224
"""Width and height in pixels of the encoder's input."""
MAX_UPLOAD_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 200_000_000
"""The most of any format. Formats that are not scaled down while they are decoded have fewer (docs/formats.md)."""
MIN_SIDE = 16


class Status(StrEnum):
    """State of an image on its way into the index."""

    PENDING = "pending"
    INDEXED = "indexed"
    REJECTED = "rejected"


class Visibility(StrEnum):
    """Who may find an image: everybody, or only its owner."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Box:
    """A region of the upright picture in pixels; ``x2`` and ``y2`` are exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.y2 - self.y1

    def __str__(self) -> str:
        return f"{self.x1},{self.y1},{self.x2},{self.y2}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture prepared for the encoder.

    ``pixels`` is uint8 [224, 224, 3], RGB. ``width`` and ``height`` are those of the whole upright picture, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Prepared(Decoded):
    """A picture prepared for the index.

    ``phash`` and ``phash_mirrored`` are 64-bit perceptual hashes (0 .. 2**64-1) of the picture, or of its box, and of
    the mirror image. ``colours`` is its colour layout (``colour_layout``).
    """

    phash: int
    phash_mirrored: int
    colours: bytes


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image as it is registered, before it is decoded."""

    uri: str
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    content_hash: builtins.bytes | None = None
    """SHA-256 of the file, 32 bytes."""
    etag: str = ""
    """Entity tag that the object will have; empty if unknown."""
    bytes: int = 0
    """Size of the file; 0 if unknown."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image's row in the image repository."""

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
    """Entity tag of the object that this row describes; empty if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSelection:
    """Which images a listing shows.

    Public images always pass, private ones only of ``owners``, or all if that is None. Blocked ids and sources are left
    out, unless they are of ``owners``. ``prefix`` is the beginning of the uri. Empty fields restrict nothing, and
    neither does an ``owner`` that is None.
    """

    owners: frozenset[str] | None = None
    blocked_ids: frozenset[int] = frozenset()
    blocked_sources: frozenset[str] = frozenset()
    status: Status | None = None
    source: str = ""
    prefix: str = ""
    owner: str | None = None

    def has(self, image: Image) -> bool:
        """Return whether an image is selected."""
        own = self.owners is None or image.owner in self.owners
        blocked = image.id in self.blocked_ids or image.source in self.blocked_sources
        return (
            (own or (image.visibility is Visibility.PUBLIC and not blocked))
            and self.status in (None, image.status)
            and self.source in ("", image.source)
            and image.uri.startswith(self.prefix)
            and self.owner in (None, image.owner)
        )


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Images in the order of their ids. ``next`` is the id to go on after; None if there are no more."""

    images: list[Image]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange:
    """Changes to an image; None leaves a field as it is."""

    source: str | None = None
    visibility: Visibility | None = None


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """The fields of an indexed image that a result shows. Sizes are in pixels."""

    uri: str
    width: int
    height: int
    colours: bytes = b""
    """Its colour layout, by which it is folded or not; empty for an image that was indexed without one."""


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What an indexed image's file holds, for finding its copies. Sizes are in pixels; ``colours`` may be empty."""

    id: int
    content_hash: bytes
    width: int
    height: int
    colours: bytes


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """Metadata that indexing extracts from an image. It is written to the repository before the vector."""

    image_id: int
    width: int
    height: int
    phash: int
    content_hash: builtins.bytes
    etag: str = ""
    bytes: int = 0
    """Size of the file; 0 if unknown."""
    colours: builtins.bytes = b""
    """Colour layout; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner stores: pictures that are not rejected, and the bytes of their files."""

    images: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """How many pictures, and bytes of files, an owner may store; 0 is no limit."""

    images: int = 0
    bytes: int = 0

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return not self.images and not self.bytes

    def check(self, usage: Usage) -> None:
        """Raise ``QuotaExceeded`` if an owner stores more than it may."""
        if self.images and usage.images > self.images:
            raise QuotaExceeded(
                f"You may store {self.images:,} pictures, and this would be one more. Delete some first."
            )
        if self.bytes and usage.bytes > self.bytes:
            raise QuotaExceeded(
                f"You may store {self.bytes:,} bytes, and with this picture it would be {usage.bytes:,}. Delete some "
                "pictures first."
            )


UNLIMITED = Quota()


def stack_pixels(decoded: Sequence[Decoded]) -> NDArray[np.uint8]:
    """Stack pictures into one batch, uint8 [n, 224, 224, 3]."""
    return np.stack([one.pixels for one in decoded])
