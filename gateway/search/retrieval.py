"""Retrieves candidates for an embedding, ranks them, and joins them with their rows. Depends on no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.search.ranking import depends_on_colours, rank, reaching, without
from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.near_duplicates import NearDuplicateRule
from visualsearch.domain.recall import CANDIDATES
from visualsearch.domain.search import MAX_CANDIDATES, Consistency, NearDuplicates, Result
from visualsearch.observability import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from gateway.search.options import SearchOptions
    from gateway.search.stage_timer import StageTimer
    from visualsearch.domain.images import ImageSummary
    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import Candidates, Filter, Ranked
    from visualsearch.ports import DuplicateExclusions, Vectors

    OnCandidates = Callable[[Release, NDArray[np.float32], Filter, Candidates], None]

MORE = 4
"""Factor by which more candidates are fetched when filters and folding leave too few."""


class Retriever:
    """Finds and ranks results. ``on_candidates`` gets the first candidates of every query; it must return at once."""

    def __init__(
        self, vectors: Vectors, exclusions: DuplicateExclusions, on_candidates: OnCandidates | None = None
    ) -> None:
        self._vectors = vectors
        self._exclusions = exclusions
        self._on_candidates = on_candidates

    async def best(
        self, embedding: NDArray[np.float32], release: Release, options: SearchOptions, watch: StageTimer
    ) -> list[Result]:
        """Return the k best results that reach the lowest score, or fewer if the collection has no more.

        Fetch more candidates as needed. Adds the times of the stages to ``watch``. Raises ``Unavailable``.
        """
        count = max(release.search_params.get("candidates", CANDIDATES), 4 * options.k)
        if options.consistency is Consistency.STRONG:
            async with watch.stage("ann"):
                await self._vectors.settle(release.collection)
        asked = count
        rule = NearDuplicateRule(options.near_duplicate_distance, release.duplicate_cosine)
        while True:
            async with watch.stage("ann"):
                found = await self._nearest(embedding, count, release, options.where)
                watch.rescore_ms += found.rescore_ms
                tracing.annotate(candidates=len(found.ids), rescore_ms=found.rescore_ms)
            if self._on_candidates is not None and count == asked:
                self._on_candidates(release, embedding, options.where, found)
            async with watch.stage("rank"):
                results = await self._results(reaching(found, options.min_score), options, rule)
            no_better = bool((found.scores[-1:] < options.min_score).any())
            if len(results) >= options.k or found.exhausted or no_better or count >= MAX_CANDIDATES:
                return results
            count = min(MORE * count, MAX_CANDIDATES)

    async def _nearest(self, embedding: NDArray[np.float32], count: int, release: Release, where: Filter) -> Candidates:
        try:
            return await self._vectors.nearest(release.collection, embedding, count, release.search_params, where)
        except NotFound as error:  # the collection is missing, not something that the caller named
            raise Unavailable(f"Release {release.name}", str(error)) from None

    async def _results(self, found: Candidates, options: SearchOptions, rule: NearDuplicateRule) -> list[Result]:
        """Rank candidates and join them with their rows.

        Rank first, then fetch the rows and the duplicate exclusions together, which usually takes one round trip. Rank
        again if there are exclusions, if the colours, which come with the rows, may forbid a fold, or if a candidate
        has no row (any more): such a candidate is neither shown nor folds others.
        """
        rows: dict[int, ImageSummary] = {}
        pairs: set[tuple[int, int]] = set()
        colours: dict[int, bytes] | None = None
        gone = set() if options.left_out is None else {options.left_out}
        unasked = found.ids.tolist() if options.near_duplicates is NearDuplicates.COLLAPSE else []
        while True:
            ranked = rank(without(found, gone), options.near_duplicates, options.k, pairs, rule, colours)
            unknown = {image_id for one in ranked for image_id in (one.image_id, *one.near_duplicates)} - rows.keys()
            if unknown:
                marked, images = await self._exclusions.pairs_and_shown(unasked, sorted(unknown), options.where.owner)
                rows |= images
                missing, unasked = unknown - rows.keys(), []
                pairs |= marked
                gone |= missing
                known = {image_id: row.colours for image_id, row in rows.items()}
                clash = depends_on_colours(ranked, known)
                colours = known if clash or colours is not None else None
                if marked or missing or clash:
                    continue
            return [_result(one, rows[one.image_id], place) for place, one in enumerate(ranked, 1)]


def _result(one: Ranked, row: ImageSummary, place: int) -> Result:
    return Result(one.image_id, one.score, row.uri, place, row.width, row.height, one.near_duplicates)
