"""Ranking metrics that serving and training share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Gain = Literal["linear", "exponential"]


def dcg(grades: Sequence[int], gain: Gain = "linear") -> float:
    """Sum the gains of grades in ranked order, each divided by log2(rank + 1).

    ``linear`` takes the grade itself as the gain, as Järvelin and Kekäläinen (2002, "Cumulated gain-based evaluation of
    IR techniques") and trec_eval do; ``exponential`` takes 2**grade - 1, as Burges et al. (2005, "Learning to rank
    using gradient descent") do.
    """
    gains = grades if gain == "linear" else [2**grade - 1 for grade in grades]
    return sum(value / math.log2(rank + 1) for rank, value in enumerate(gains, 1) if value)


def ndcg(ranked: Sequence[int], judged: Sequence[int], k: int, gain: Gain = "linear") -> float:
    """Return the DCG of the first k divided by that of the ideal ranking; 0 if nothing is relevant.

    ``ranked`` are grades in ranked order. ``judged`` are the grades of everything that was judged for the query.
    """
    ideal = dcg(sorted(judged, reverse=True)[:k], gain)
    return dcg(ranked[:k], gain) / ideal if ideal else 0.0


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the share of the longer list that both lists have in common, in any order; 1 if both are empty."""
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[int], other: Sequence[int], p: float = 0.9) -> float:
    """Return the similarity of two rankings from 0 to 1, weighted to the top: extrapolated RBO of even lists.

    Webber, Moffat and Zobel (2010, "A similarity measure for indefinite rankings"), equation 30, over the depth that
    both lists have. With p = .9 the first ten ranks carry 86% of the weight.
    """
    depth = min(len(one), len(other))
    if not depth:
        return 1.0 if len(one) == len(other) else 0.0
    seen_one: set[int] = set()
    seen_other: set[int] = set()
    total = agreed = 0.0
    for place in range(1, depth + 1):
        seen_one.add(one[place - 1])
        seen_other.add(other[place - 1])
        agreed = len(seen_one & seen_other)
        total += agreed / place * p**place
    return agreed / depth * p**depth + (1 - p) / p * total
