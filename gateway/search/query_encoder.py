"""Turns queries into embeddings of a release. Depends on no framework and no server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from visualsearch.domain.errors import FingerprintMismatch
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.domain.releases import PIXEL_REVISION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gateway.search.decoder import Decoder
    from visualsearch.domain.images import Box, Decoded, Image
    from visualsearch.domain.releases import Release
    from visualsearch.ports import Encoder, ObjectStore, Vectors

log = logging.getLogger(__name__)


class QueryEncoder:
    """Embeds pictures, and images of the corpus, with the encoder of a release."""

    def __init__(self, decoder: Decoder, encoder: Encoder, vectors: Vectors, object_store: ObjectStore) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._vectors = vectors
        self._object_store = object_store
        self._matched: set[tuple[str, str]] = set()

    async def decode(self, data: bytes, box: Box | None = None) -> Decoded:
        """Decode a picture, or a box inside it; raises what ``Decoder.decode`` raises."""
        return await self._decoder.decode(data, box)

    async def embed(self, decoded: Decoded, release: Release) -> NDArray[np.float32]:
        """Embed a decoded picture as float32 [256].

        Raises ``FingerprintMismatch`` if the loaded encoder is not the one that the release was made with.
        """
        await self._check_fingerprint(release)
        embeddings = await self._encoder.encode(decoded.pixels[None], release.model_version)
        embedding: NDArray[np.float32] = embeddings[0]
        return embedding

    async def embedding_of(self, image: Image, release: Release) -> NDArray[np.float32]:
        """Return the embedding of an image of the corpus; embed its file if the release does not contain it."""
        stored = await self._vectors.fetch(release.collection, [image.id])
        if image.id in stored:
            return stored[image.id]
        data = await self._object_store.get(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
        return await self.embed(await self.decode(data), release)

    async def _check_fingerprint(self, release: Release) -> None:
        """Raise ``FingerprintMismatch`` if another encoder made the release. A match is checked only once."""
        if (release.name, release.fingerprint) in self._matched:
            return
        loaded = await self._encoder.fingerprint(release.model_version)
        if loaded and loaded != release.encoder_fingerprint:
            raise FingerprintMismatch(
                f"Release {release.name} was made by encoder {release.fingerprint[:12]}, but model version "
                f"{release.model_version} is {loaded[:12]} here. Restore that version, or build a release with this."
            )
        if release.pixel_revision != PIXEL_REVISION:
            log.warning(
                "release %s was built of pixels of revision %d, and queries have revision %d: unusual pictures may be "
                "missed until a release is built anew (docs/releases.md)",
                *(release.name, release.pixel_revision, PIXEL_REVISION),
            )
        self._matched.add((release.name, release.fingerprint))
