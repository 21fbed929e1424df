"""Ranks candidates, and folds near-duplicates into the best of them. Pure numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.colour_layout import ColourLayouts
from visualsearch.domain.near_duplicates import HASH_BITS, NearDuplicateRule, hash_distances
from visualsearch.domain.search import Candidates, NearDuplicates, Ranked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

DEFAULT_RULE = NearDuplicateRule()
BLOCK = 64
"""Number of candidates that are compared with all others at once; this many fit the CPU cache at k' = 1,000."""


def rank(
    candidates: Candidates,
    near_duplicates: NearDuplicates,
    limit: int,
    not_duplicates: Collection[tuple[int, int]] = (),
    rule: NearDuplicateRule = DEFAULT_RULE,
    colours: Mapping[int, bytes] | None = None,
) -> list[Ranked]:
    """Rank candidates by score, best first, and return at most ``limit``.

    With ``COLLAPSE``, a candidate is folded into the best one that ``rule`` calls its near-duplicate. Nothing is folded
    into a folded candidate. ``colours`` are colour layouts by id; without them, colours are not compared.
    ``not_duplicates`` are pairs (lower id, higher id) that are never folded.
    """
    ids, scores = candidates.ids.tolist(), candidates.scores.tolist()
    if near_duplicates is NearDuplicates.KEEP:
        return [Ranked(*pair) for pair in zip(ids[:limit], scores[:limit], strict=True)]
    layouts = None if colours is None else ColourLayouts.of([colours.get(image_id, b"") for image_id in ids])
    waiting = np.ones(len(ids), bool)
    ranking: list[Ranked] = []
    # Fold only into leaders that are returned, so that the cost grows with ``limit``, not with the candidates.
    while len(ranking) < limit and waiting.any():
        leaders = np.flatnonzero(waiting)[: min(BLOCK, limit - len(ranking))]
        bits = _distances(candidates, leaders, not_duplicates)
        draws = ((bits <= rule.distance).sum(axis=1) > 1).tolist()
        for row, leader in enumerate(leaders.tolist()):
            if not waiting[leader]:
                continue
            waiting[leader] = False
            members = _members(candidates, leader, bits[row], waiting, rule, layouts) if draws[row] else []
            waiting[members] = False
            ranking.append(Ranked(ids[leader], scores[leader], tuple(ids[member] for member in members)))
    return ranking


def depends_on_colours(ranking: Sequence[Ranked], colours: Mapping[int, bytes]) -> bool:
    """Return whether ranking again with these colours may unfold something.

    That is, whether anything is folded into a picture that has other colours, or into a nearly empty one.
    """
    folded = [(one.image_id, member) for one in ranking for member in one.near_duplicates]
    if not folded:
        return False
    layouts = ColourLayouts.of([colours.get(image_id, b"") for pair in folded for image_id in pair])
    places = np.arange(0, 2 * len(folded), 2)
    return not (layouts.agree(places, places + 1) & ~layouts.plain(places, places + 1)).all()


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


def reaching(candidates: Candidates, score: float) -> Candidates:
    """Return the candidates with at least this score."""
    return without(candidates, candidates.ids[candidates.scores < score].tolist())


def _members(
    candidates: Candidates,
    leader: int,
    bits: NDArray[np.uint8],
    waiting: NDArray[np.bool_],
    rule: NearDuplicateRule,
    layouts: ColourLayouts | None,
) -> list[int]:
    """Return the positions of the waiting candidates to fold into the leader; ``bits`` are their distances to it."""
    places = np.flatnonzero((bits <= rule.distance) & waiting)
    cosines = None
    if candidates.embeddings is not None:
        # Avoid a matrix product: starting its threads takes longer than these few sums.
        cosines = np.einsum("ij,j->i", candidates.embeddings[places], candidates.embeddings[leader])
    near = rule.confirm(bits[places], cosines, layouts, np.full_like(places, leader), places)
    members: list[int] = places[near].tolist()
    return members


def _distances(
    candidates: Candidates, leaders: NDArray[np.intp], not_duplicates: Collection[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Return the Hamming distance of each candidate, or its mirror image, to each leader: uint8 [leaders, n].

    Pairs that are never folded get more than any distance.
    """
    bits = hash_distances(candidates.phashes, candidates.phashes_mirrored, leaders)
    for pair in not_duplicates:
        for one, other in (pair, pair[::-1]):
            bits[np.ix_(candidates.ids[leaders] == one, candidates.ids == other)] = HASH_BITS + 1
    return bits
