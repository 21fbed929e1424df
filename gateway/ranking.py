"""Turns candidates into a ranking: near-duplicates folded into their best member. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain import NEAR_DUPLICATE_DISTANCE, Candidates, NearDuplicates, Ranked

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    not_duplicates: Collection[tuple[int, int]] = (),
) -> list[Ranked]:
    """Rank candidates by score, best first.

    With ``COLLAPSE`` a candidate whose pHash, or whose mirror image's pHash, is within ``NEAR_DUPLICATE_DISTANCE``
    bits of a better one's is folded into the best such; a folded one draws no further ones in. ``not_duplicates`` holds
    pairs (lower id, higher id) that never fold.
    """
    ids: list[int] = candidates.ids.tolist()
    scores: list[float] = candidates.scores.tolist()
    if near_duplicates is NearDuplicates.KEEP:
        return [Ranked(image_id, score) for image_id, score in zip(ids, scores, strict=True)]
    leader_of = _leaders(candidates.phashes, candidates.phashes_mirrored)
    for place in np.flatnonzero(leader_of != np.arange(len(ids))).tolist():
        pair = ids[place], ids[leader_of[place]]
        if (min(pair), max(pair)) in not_duplicates:
            leader_of[place] = place
    folded: dict[int, list[int]] = {}
    for place, leader in enumerate(leader_of.tolist()):
        folded.setdefault(leader, [])
        if leader != place:
            folded[leader].append(ids[place])
    return [Ranked(ids[leader], scores[leader], tuple(members)) for leader, members in sorted(folded.items())]


def _leaders(phashes: NDArray[np.uint64], mirrored: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Say for each of n candidates (in order of score) which one leads it, int64 [n]; leaders lead themselves."""
    count = len(phashes)
    leader = np.full(count, -1, np.int64)
    for place in range(count):
        if leader[place] >= 0:
            continue
        leader[place] = place
        rest = slice(place + 1, count)
        near = np.minimum(
            np.bitwise_count(phashes[rest] ^ phashes[place]), np.bitwise_count(mirrored[rest] ^ phashes[place])
        )
        followers = leader[rest]
        followers[(near <= NEAR_DUPLICATE_DISTANCE) & (followers < 0)] = place
    return leader
