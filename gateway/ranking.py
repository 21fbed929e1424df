"""Turns candidates into a ranking: near-duplicates folded into their best member. Pure numpy."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain import NEAR_DUPLICATE_DISTANCE, Candidates, NearDuplicates, Ranked

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    limit: int,
    not_duplicates: Collection[tuple[int, int]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
) -> list[Ranked]:
    """Rank candidates by score, best first, up to ``limit`` places.

    With ``COLLAPSE`` a candidate whose pHash, or whose mirror image's pHash, is within ``distance``
    bits of a better one's is folded into the best such; a folded one draws no further ones in. ``not_duplicates`` holds
    pairs (lower id, higher id) that never fold.
    """
    if near_duplicates is NearDuplicates.KEEP:
        pairs = zip(candidates.ids[:limit].tolist(), candidates.scores[:limit].tolist(), strict=True)
        return [Ranked(image_id, score) for image_id, score in pairs]
    ids, apart = candidates.ids, _by_id(not_duplicates)
    waiting = np.ones(len(ids), bool)
    ranking: list[Ranked] = []
    # Only leaders that are shown draw members: the time goes with the places asked for, not with the candidates.
    while len(ranking) < limit and waiting.any():
        leader = int(waiting.argmax())
        waiting[leader] = False
        near = waiting & _near(candidates, leader, distance)
        image_id = int(ids[leader])
        if image_id in apart:
            near &= ~np.isin(ids, apart[image_id])
        waiting &= ~near
        ranking.append(Ranked(image_id, float(candidates.scores[leader]), tuple(ids[near].tolist())))
    return ranking


def without(candidates: Candidates, image_ids: Collection[int]) -> Candidates:
    """Return the candidates that are none of these images."""
    keep = ~np.isin(candidates.ids, list(image_ids))
    return Candidates(
        candidates.ids[keep],
        candidates.scores[keep],
        candidates.phashes[keep],
        candidates.phashes_mirrored[keep],
        candidates.exhausted,
    )


def _near(candidates: Candidates, leader: int, distance: int) -> NDArray[np.bool_]:
    """Say which candidates look like one of them or like its mirror image, bool [n]."""
    phash = candidates.phashes[leader]
    bits = np.minimum(
        np.bitwise_count(candidates.phashes ^ phash), np.bitwise_count(candidates.phashes_mirrored ^ phash)
    )
    near: NDArray[np.bool_] = bits <= distance
    return near


def _by_id(pairs: Collection[tuple[int, int]]) -> dict[int, list[int]]:
    apart: dict[int, list[int]] = defaultdict(list)
    for low, high in pairs:
        apart[low].append(high)
        apart[high].append(low)
    return dict(apart)
