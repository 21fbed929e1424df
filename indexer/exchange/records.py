"""What an exported index holds: one record an image, and what the whole file is of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import EMBEDDING_DIM, UNIT_NORM_TOLERANCE, Visibility

DIGEST_BYTES = 32
MAX_SIDE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """Where an index comes from. Vectors of another ``fingerprint`` must never be compared with these."""

    fingerprint: str
    release: str
    model_version: int
    bucket: str


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """An indexed image. ``vector`` is float32 [256] of unit length; sizes in pixels, the rest as in ``Prepared``."""

    id: int
    uri: str
    source: str
    owner: str
    visibility: Visibility
    width: int
    height: int
    content_hash: bytes
    etag: str
    phash: int
    phash_mirrored: int
    colours: bytes
    vector: NDArray[np.float32]

    def check(self) -> None:
        """Raise ``InvalidInput`` if no indexer could have written this."""
        if self.vector.shape != (EMBEDDING_DIM,) or not abs(np.linalg.norm(self.vector) - 1) < UNIT_NORM_TOLERANCE:
            raise InvalidInput(f"Its vector has not {EMBEDDING_DIM} numbers and the length 1: export it anew.")
        if len(self.content_hash) != DIGEST_BYTES:
            raise InvalidInput("Its content_hash is no SHA-256: export it anew.")
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise InvalidInput("Its size in pixels is impossible: export it anew.")
