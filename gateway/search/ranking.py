"""Turns candidates into a ranking: near-duplicates folded into their best member. Pure numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.search import (
    NEAR_DUPLICATE_COSINE,
    NEAR_DUPLICATE_DISTANCE,
    SURE_DISTANCE,
    Candidates,
    NearDuplicates,
    Ranked,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

HASH_BITS = 64
BLOCK = 64
"""Candidates that are compared with all others at once: as many as fit a processor's cache at k' = 1,000."""


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    limit: int,
    not_duplicates: Collection[tuple[int, int]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
) -> list[Ranked]:
    """Rank candidates by score, best first, up to ``limit`` places.

    With ``COLLAPSE`` a candidate whose pHash, or whose mirror image's pHash, is within ``distance``
    bits of a better one's is folded into the best such; a folded one draws no further ones in. Where the pHashes are
    not surely alike (over ``SURE_DISTANCE`` bits) and embeddings are at hand, their cosine similarity must reach
    ``NEAR_DUPLICATE_COSINE`` too. ``not_duplicates`` holds pairs (lower id, higher id) that never fold.
    """
    ids, scores = candidates.ids.tolist(), candidates.scores.tolist()
    if near_duplicates is NearDuplicates.KEEP:
        return [Ranked(*pair) for pair in zip(ids[:limit], scores[:limit], strict=True)]
    waiting = np.ones(len(ids), bool)
    ranking: list[Ranked] = []
    # Only leaders that are shown draw members: the time goes with the places asked for, not with the candidates.
    while len(ranking) < limit and waiting.any():
        leaders = np.flatnonzero(waiting)[: min(BLOCK, limit - len(ranking))]
        bits = _distances(candidates, leaders, not_duplicates)
        draws = ((bits <= distance).sum(axis=1) > 1).tolist()
        for row, leader in enumerate(leaders.tolist()):
            if not waiting[leader]:
                continue
            waiting[leader] = False
            members = _members(candidates, leader, bits[row], waiting, distance) if draws[row] else []
            waiting[members] = False
            ranking.append(Ranked(ids[leader], scores[leader], tuple(ids[member] for member in members)))
    return ranking


def without(candidates: Candidates, image_ids: Collection[int]) -> Candidates:
    """Return the candidates that are none of these images."""
    if not image_ids:
        return candidates
    keep = ~np.isin(candidates.ids, list(image_ids))
    return replace(
        candidates,
        ids=candidates.ids[keep],
        scores=candidates.scores[keep],
        phashes=candidates.phashes[keep],
        phashes_mirrored=candidates.phashes_mirrored[keep],
        embeddings=None if candidates.embeddings is None else candidates.embeddings[keep],
    )


def _members(
    candidates: Candidates, leader: int, bits: NDArray[np.uint8], waiting: NDArray[np.bool_], distance: int
) -> list[int]:
    """Return the places of waiting candidates that fold into the leader."""
    near = np.flatnonzero((bits <= distance) & waiting)
    sure = bits[near] <= SURE_DISTANCE
    if candidates.embeddings is not None and not sure.all():
        # Not by a matrix product: waking its threads takes longer than these few sums.
        cosines = np.einsum("ij,j->i", candidates.embeddings[near], candidates.embeddings[leader])
        near = near[sure | (cosines >= NEAR_DUPLICATE_COSINE)]
    members: list[int] = near.tolist()
    return members


def _distances(
    candidates: Candidates, leaders: NDArray[np.intp], not_duplicates: Collection[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Return how many bits each candidate or its mirror image is from these places, uint8 [leaders, n].

    Pairs that never fold are as far as can be.
    """
    phashes = candidates.phashes[leaders, None]
    bits: NDArray[np.uint8] = np.bitwise_count(candidates.phashes ^ phashes)
    np.minimum(bits, np.bitwise_count(candidates.phashes_mirrored ^ phashes), out=bits)
    for pair in not_duplicates:
        for one, other in (pair, pair[::-1]):
            bits[np.ix_(candidates.ids[leaders] == one, candidates.ids == other)] = HASH_BITS
    return bits
