"""Measures of a ranking that serving and training share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Gain = Literal["linear", "exponential"]


def dcg(grades: Sequence[int], gain: Gain = "linear") -> float:
    """Sum the gains of grades in ranked order, each over log2(rank + 1).

    ``linear`` takes the grade itself as the gain, as Järvelin and Kekäläinen (2002, "Cumulated gain-based evaluation of
    IR techniques") and trec_eval do; ``exponential`` takes 2**grade - 1, as Burges et al. (2005, "Learning to rank
    using gradient descent") do.
    """
    gains = grades if gain == "linear" else [2**grade - 1 for grade in grades]
    return sum(value / math.log2(rank + 1) for rank, value in enumerate(gains, 1) if value)


def ndcg(ranked: Sequence[int], judged: Sequence[int], k: int, gain: Gain = "linear") -> float:
    """Return the DCG of the first k, over that of the best ranking there could be; 0 where nothing is relevant.

    ``ranked`` are grades in ranked order, ``judged`` the grades of everything that was judged for the query.
    """
    ideal = dcg(sorted(judged, reverse=True)[:k], gain)
    return dcg(ranked[:k], gain) / ideal if ideal else 0.0
