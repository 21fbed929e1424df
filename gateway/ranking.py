"""Turns candidates into a ranking: near-duplicates folded into their best member. Pure numpy."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain import NEAR_DUPLICATE_DISTANCE, Candidates, NearDuplicates, Ranked

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

LEADERS = 64
"""Candidates whose likes are looked for at once: of numpy's time for one, most is the call's."""


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    limit: int,
    not_duplicates: Collection[tuple[int, int]] = (),
) -> list[Ranked]:
    """Rank candidates by score, best first, up to ``limit`` places.

    With ``COLLAPSE`` a candidate whose pHash, or whose mirror image's pHash, is within ``NEAR_DUPLICATE_DISTANCE``
    bits of a better one's is folded into the best such; a folded one draws no further ones in. ``not_duplicates`` holds
    pairs (lower id, higher id) that never fold.
    """
    if near_duplicates is NearDuplicates.KEEP:
        pairs = zip(candidates.ids[:limit].tolist(), candidates.scores[:limit].tolist(), strict=True)
        return [Ranked(image_id, score) for image_id, score in pairs]
    ids, scores, apart = candidates.ids.tolist(), candidates.scores.tolist(), _by_id(not_duplicates)
    waiting = np.ones(len(ids), bool)
    ranking: list[Ranked] = []
    # Only leaders that are shown draw members: the time goes with the places asked for, not with the candidates.
    for begin in range(0, len(ids), LEADERS):
        near = _near(candidates, slice(begin, begin + LEADERS))
        alone = (near.sum(1) == 1).tolist()
        for leader in range(begin, begin + len(near)):
            if len(ranking) == limit:
                return ranking
            if not waiting[leader]:
                continue
            waiting[leader] = False
            members: tuple[int, ...] = ()
            if not alone[leader - begin]:
                drawn = waiting & near[leader - begin]
                drawn &= ~np.isin(candidates.ids, apart.get(ids[leader], []))
                waiting &= ~drawn
                members = tuple(candidates.ids[drawn].tolist())
            ranking.append(Ranked(ids[leader], scores[leader], members))
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


def _near(candidates: Candidates, leaders: slice) -> NDArray[np.bool_]:
    """Say which candidates look like each of some leaders or like its mirror image, bool [leaders, n]."""
    phashes = candidates.phashes[leaders, None]
    bits = np.minimum(
        np.bitwise_count(candidates.phashes ^ phashes), np.bitwise_count(candidates.phashes_mirrored ^ phashes)
    )
    near: NDArray[np.bool_] = bits <= NEAR_DUPLICATE_DISTANCE
    return near


def _by_id(pairs: Collection[tuple[int, int]]) -> dict[int, list[int]]:
    apart: dict[int, list[int]] = defaultdict(list)
    for low, high in pairs:
        apart[low].append(high)
        apart[high].append(low)
    return dict(apart)
