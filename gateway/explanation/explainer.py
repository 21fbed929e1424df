"""Explains why an image was found: which of its regions are similar to the query. Depends on no framework or server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gateway.explanation.similarity_heatmap import SimilarityHeatmap, agreement, drawn
from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.images import IMAGE_SIDE, MAX_UPLOAD_BYTES, Box, Decoded, Status
from visualsearch.domain.query_images import PACK_BYTES, part_named
from visualsearch.imaging.boxes import parse_box

if TYPE_CHECKING:
    from gateway.caller import Caller
    from gateway.image_service import ImageService
    from gateway.search.decoder import Decoder
    from visualsearch.domain.interactions import StoredQuery
    from visualsearch.ports import Encoder, ImageRepository, InteractionRepository, ObjectStore
    from visualsearch.releases.active_releases import ActiveReleases

PATIENCE_S = 1.0
"""How long to wait for a query that was just answered, because it is recorded after its answer is sent."""
POLL_S = 0.1
WHITE = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 255, np.uint8)


@dataclass(frozen=True, slots=True)
class ExplainedPicture:
    """A picture, and the box of it that is compared."""

    data: bytes
    decoded: Decoded
    box: Box

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole upright picture, in pixels."""
        return self.decoded.width, self.decoded.height


@dataclass(frozen=True, slots=True)
class Explanation:
    """Similarity heatmaps of a query and an image, and the pictures to draw them on."""

    query: ExplainedPicture
    image: ExplainedPicture
    heats: tuple[SimilarityHeatmap, SimilarityHeatmap]
    release: str


class Explainer:
    """Explains results. ``deadline_s`` bounds the total time of the servers that one call needs."""

    def __init__(
        self,
        decoder: Decoder,
        corpus: ImageService,
        encoder: Encoder,
        image_repository: ImageRepository,
        interaction_repository: InteractionRepository,
        object_store: ObjectStore,
        releases: ActiveReleases,
        deadline_s: float,
    ) -> None:
        self._decoder = decoder
        self._corpus = corpus
        self._encoder = encoder
        self._image_repository = image_repository
        self._interaction_repository = interaction_repository
        self._object_store = object_store
        self._releases = releases
        self._deadline_s = deadline_s

    async def explain(self, query_image_id: int, image_id: int, caller: Caller) -> Explanation:
        """Compare a query with an image, using the encoder of the live release.

        The query is an image of the corpus or the picture of a past search. Raises ``NotFound`` if either does not
        exist (any more) or the caller may not see it, ``Unsupported`` if the encoder has no feature map, ``Overloaded``
        and ``Unavailable``.
        """
        try:
            async with asyncio.timeout(self._deadline_s + PATIENCE_S):
                release = await self._releases.live()
                query = await self._query(query_image_id, caller)
                image = await self._of_corpus(image_id, caller)
                pixels = np.stack([query.decoded.pixels, image.decoded.pixels, WHITE])
                *maps, blank = await self._encoder.feature_map(pixels, release.model_version)
        except TimeoutError:
            raise Unavailable("A server behind the gateway", "no answer in time") from None
        one, other = agreement(np.stack(maps), blank)
        return Explanation(
            query, image, (SimilarityHeatmap(one, query.box), SimilarityHeatmap(other, image.box)), release.name
        )

    async def draw(self, explanation: Explanation) -> bytes:
        """Draw an explanation as a PNG file."""
        query, image = explanation.query, explanation.image
        pictures, sizes = (query.data, image.data), (query.size, image.size)
        return await self._decoder.run(drawn, pictures, explanation.heats, sizes)

    async def _query(self, query_image_id: int, caller: Caller) -> ExplainedPicture:
        try:
            return await self._of_corpus(query_image_id, caller)
        except NotFound:
            return await self._of_search(query_image_id, caller)

    async def _of_corpus(self, image_id: int, caller: Caller) -> ExplainedPicture:
        image = await self._corpus.get_shown(image_id, caller)
        if image.status is not Status.INDEXED:
            raise NotFound(f"Image {image_id} is {image.status}, not indexed; GET /images/{image_id} tells more.")
        data = await self._object_store.get(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
        return await self._asked(data, "")

    async def _of_search(self, query_image_id: int, caller: Caller) -> ExplainedPicture:
        """Return the picture of a past search. Raises ``NotFound`` for a search of another owner too."""
        missing = NotFound(
            f"There is no picture of query {query_image_id}: no such search was made with your key, or its picture is "
            "not kept (any more)."
        )
        if not await self._image_repository.was_issued(query_image_id):
            raise missing
        for _ in range(round(PATIENCE_S / POLL_S)):
            kept = await self._interaction_repository.query(query_image_id)
            if kept and (not kept.blob_key or not caller.owns(kept.owner)):
                break
            if kept and (picture := await self._kept(kept)):
                return picture
            await asyncio.sleep(POLL_S)
        raise missing

    async def _kept(self, query: StoredQuery) -> ExplainedPicture | None:
        """Return a query's picture; None while it is not stored, because it is stored after the answer."""
        try:
            part = part_named(query.blob_key)
            pack = await self._object_store.get(part.key, PACK_BYTES + MAX_UPLOAD_BYTES)
        except NotFound:
            return None
        return await self._asked(part.of(pack), query.box)

    async def _asked(self, data: bytes, box: str) -> ExplainedPicture:
        part = parse_box(box) if box else None
        decoded = await self._decoder.decode(data, part)
        return ExplainedPicture(data, decoded, part or Box(0, 0, decoded.width, decoded.height))
