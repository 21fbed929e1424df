"""A lowest score that few unrelated pictures reach, estimated from pairs of a release's own vectors.

Scores are exact cosines of raw vectors, whatever index found the candidates, so what holds for pairs of vectors holds
for results. An index can only miss some of the pictures that would pass.

The pictures of a sample come in blocks of neighbouring ids. Those were often added together, as a folder is, so pairs
within a block are not taken for unrelated, and neither are near-duplicates. A corpus may hold many related pictures all
the same, such as thousands of shoes. They fill the tail of the scores, but hardly move the middle, which bounds the
estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_DISTANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visualsearch.domain.search import VectorRow

RATE = 0.001
"""Share of the pairs of unrelated pictures that may reach the suggested score."""
FEWEST_PAIRS = 10
"""Pairs above the score, below which there is no estimate."""
BINS = 20_000
"""Bins of the histogram of scores from -1 to 1, so that a score is known to 1 in 10,000."""
HEAVIEST_TAIL = 1.5
"""How far above the median the estimate may be, in units of where it would be if scores had a normal distribution with
the same upper quartile. For pictures of different categories of the demo corpus it is 1.3."""
PARTS = 10
"""Parts of the sample. Each is left out once, which shows how much the estimate depends on the sample."""
ROWS = 256
"""Pictures that are compared with all others at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """The suggested lowest score of a release: a share of about ``rate`` of unrelated pairs reaches ``min_score``.

    ``error`` is the standard error of ``min_score``. ``pairs`` of ``images`` were compared, when the release held
    ``corpus``.
    """

    min_score: float
    error: float
    rate: float
    pairs: int
    images: int
    corpus: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score that a share of the pairs reaches, its standard error, and how many pairs there were."""

    score: float
    error: float
    pairs: int


def estimate(blocks: Sequence[Sequence[VectorRow]], rate: float = RATE) -> Estimate | None:
    """Estimate the score that a share of ``rate`` of the unrelated pairs reaches; None if there are too few pairs.

    The error comes of leaving out a tenth of the blocks at a time (a jackknife), because the pairs of one picture
    depend on each other.
    """
    counts = _histograms(blocks)
    total = counts.sum(axis=(0, 1))
    if total.sum() * rate < FEWEST_PAIRS:
        return None
    scores = np.array([_score(_without(counts, part), rate) for part in range(PARTS)])
    error = np.sqrt((PARTS - 1) / PARTS * np.sum((scores - scores.mean()) ** 2))
    return Estimate(round(_score(total, rate), 4), round(float(error), 4), int(total.sum()))


def _without(counts: NDArray[np.int64], part: int) -> NDArray[np.int64]:
    """Count the pairs of which no picture is in a part."""
    others = np.arange(PARTS) != part
    kept: NDArray[np.int64] = counts[np.ix_(others, others)].sum(axis=(0, 1))
    return kept


def _score(counts: NDArray[np.int64], rate: float) -> float:
    """Return the score that a share of ``rate`` of what is counted reaches, or the bound, if that is lower."""
    median, quartile = _reached(counts, 0.5), _reached(counts, 0.25)
    normal = NormalDist()
    spread = (quartile - median) / normal.inv_cdf(0.75)
    return min(_reached(counts, rate), median + HEAVIEST_TAIL * spread * normal.inv_cdf(1 - rate))


def _reached(counts: NDArray[np.int64], rate: float) -> float:
    """Return the lowest edge of a bin that at most a share of ``rate`` of what is counted reaches."""
    above = counts[::-1].cumsum()
    bins = int(np.searchsorted(above, counts.sum() * rate, side="right"))
    return 1 - 2 * bins / BINS


def _histograms(blocks: Sequence[Sequence[VectorRow]]) -> NDArray[np.int64]:
    """Count the scores of unrelated pairs: int64 [parts, parts, bins], by the parts of both pictures."""
    rows = [row for block in blocks for row in block]
    counts = np.zeros((PARTS, PARTS, BINS), np.int64)
    if not rows:
        return counts
    embeddings = np.stack([row.embedding for row in rows])
    hashes = np.array([(row.phash, row.phash_mirrored) for row in rows], np.uint64)
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    part_of = block_of % PARTS
    for begin in range(0, len(rows), ROWS):
        some = slice(begin, begin + ROWS)
        # Pairs of a later with an earlier block, so that each is counted once.
        unrelated = (block_of[some, None] > block_of[None, :]) & ~_near(hashes[some], hashes)
        scores = embeddings[some] @ embeddings.T
        bins = np.clip(((scores + 1) / 2 * BINS).astype(np.int64), 0, BINS - 1)
        places = (part_of[some, None] * PARTS + part_of[None, :]) * BINS + bins
        counts += np.bincount(places[unrelated], minlength=counts.size).reshape(counts.shape)
    return counts


def _near(some: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which pictures are near-duplicates by their pHashes or their mirror images': bool [some, all]."""
    bits = np.bitwise_count(some[:, None, 0] ^ hashes[None, :, 0])
    mirrored = np.bitwise_count(some[:, None, 0] ^ hashes[None, :, 1])
    near: NDArray[np.bool_] = np.minimum(bits, mirrored) <= NEAR_DUPLICATE_DISTANCE
    return near
