"""Ranks candidates, and folds near-duplicates into the best of them. Pure numpy."""

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
"""Number of candidates that are compared with all others at once; this many fit the CPU cache at k' = 1,000."""


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    limit: int,
    not_duplicates: Collection[tuple[int, int]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
) -> list[Ranked]:
    """Rank candidates by score, best first, and return at most ``limit``.

    With ``COLLAPSE``, a candidate is folded into the best one whose pHash is within ``distance`` bits of its own pHash
    or of its mirror image's. Nothing is folded into a folded candidate. If the pHashes differ by more than
    ``SURE_DISTANCE`` bits and the candidates have embeddings, their cosine similarity must reach
    ``NEAR_DUPLICATE_COSINE`` too. ``not_duplicates`` are pairs (lower id, higher id) that are never folded.
    """
    ids, scores = candidates.ids.tolist(), candidates.scores.tolist()
    if near_duplicates is NearDuplicates.KEEP:
        return [Ranked(*pair) for pair in zip(ids[:limit], scores[:limit], strict=True)]
    waiting = np.ones(len(ids), bool)
    ranking: list[Ranked] = []
    # Fold only into leaders that are returned, so that the cost grows with ``limit``, not with the candidates.
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
    """Return the candidates without these images."""
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
    """Return the positions of the waiting candidates to fold into the leader."""
    near = np.flatnonzero((bits <= distance) & waiting)
    sure = bits[near] <= SURE_DISTANCE
    if candidates.embeddings is not None and not sure.all():
        # Avoid a matrix product: starting its threads takes longer than these few sums.
        cosines = np.einsum("ij,j->i", candidates.embeddings[near], candidates.embeddings[leader])
        near = near[sure | (cosines >= NEAR_DUPLICATE_COSINE)]
    members: list[int] = near.tolist()
    return members


def _distances(
    candidates: Candidates, leaders: NDArray[np.intp], not_duplicates: Collection[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Return the Hamming distance of each candidate, or its mirror image, to each leader: uint8 [leaders, n].

    Pairs that are never folded get the maximum, ``HASH_BITS``.
    """
    phashes = candidates.phashes[leaders, None]
    bits: NDArray[np.uint8] = np.bitwise_count(candidates.phashes ^ phashes)
    np.minimum(bits, np.bitwise_count(candidates.phashes_mirrored ^ phashes), out=bits)
    for pair in not_duplicates:
        for one, other in (pair, pair[::-1]):
            bits[np.ix_(candidates.ids[leaders] == one, candidates.ids == other)] = HASH_BITS
    return bits
