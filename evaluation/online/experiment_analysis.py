"""Analyse an experiment day by day: the CTR of each variant, its difference from the control, and the significance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from evaluation.online.cuped import adjust, covariates
from evaluation.online.ratio import ratio
from evaluation.online.sample_ratio import mismatch
from evaluation.online.sequential import MIN_UNITS, log_likelihood_ratio, p_value, radius

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from evaluation.online.experiment_data import Data


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant up to the end of a day. ``low`` to ``high`` is the confidence sequence of its CTR."""

    units: int
    shown: int
    clicks: int
    ctr: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """CTR of a variant minus the control's. ``p``, the least so far, and ``low`` to ``high`` are always valid."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Look:
    """The results at the end of a day. Contrasts compare the second and later variants with the first.

    ``adjusted`` are the same contrasts after CUPED, which explains the share ``explained`` (rho^2) of the variance.
    """

    day: date
    arms: list[Arm]
    contrasts: list[Contrast]
    adjusted: list[Contrast]
    explained: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The analysis of an experiment. ``srm_p`` is the p-value of the sample ratio check."""

    name: str
    state: str
    variants: tuple[str, ...]
    alpha: float
    srm_p: float
    looks: list[Look]


def judge(data: Data, alpha: float) -> Judged:
    """Analyse an experiment at the end of each of its days.

    With more than two variants, divide ``alpha`` among the comparisons (Bonferroni).
    """
    before = covariates(data.clicks_before, data.shown_before)
    looks = [_look(data, place, before, alpha) for place in range(len(data.days))]
    always = _least([look.contrasts for look in looks]), _least([look.adjusted for look in looks])
    looks = [
        replace(look, contrasts=plain, adjusted=better) for look, plain, better in zip(looks, *always, strict=True)
    ]
    counts = [int((data.variant == place).sum()) for place in range(len(data.variants))]
    return Judged(data.name, data.state, data.variants, alpha, mismatch(counts, data.weights), looks)


def _least(looks: Sequence[Sequence[Contrast]]) -> list[list[Contrast]]:
    """Replace the p of each contrast by the least p of all looks so far."""
    comparisons = zip(*looks, strict=True)
    least = [accumulate(one, lambda before, now: replace(now, p=min(before.p, now.p))) for one in comparisons]
    return [list(look) for look in zip(*least, strict=True)]


def _look(data: Data, place: int, before: NDArray[np.float64], alpha: float) -> Look:
    clicks, shown = data.clicks[place], data.shown[place]
    who = [(data.variant == variant) & (shown > 0) for variant in range(len(data.variants))]
    ratios = [ratio(clicks[some], shown[some]) for some in who]
    whole = shown.sum()
    # The effect size to which the test is most sensitive, relative to the pooled CTR. An effect shifts the pooled CTR
    # by at most half of its own size.
    scale = data.expected_lift * float(clicks.sum() / whole) if whole else 0.0
    arms = []
    for some, one in zip(who, ratios, strict=True):
        wide = radius(one.variance, scale, alpha) if some.sum() >= MIN_UNITS else float("inf")
        counts = int(some.sum()), int(shown[some].sum()), int(clicks[some].sum())
        arms.append(Arm(*counts, one.value, max(0.0, one.value - wide), min(1.0, one.value + wide)))
    enough = [bool(some.sum() >= MIN_UNITS) for some in who]
    plain = _contrasts([one.value for one in ratios], [one.variance for one in ratios], enough, scale, alpha)
    if not all(some.any() for some in who):
        return Look(data.days[place], arms, plain, plain, 0.0)
    better = adjust(ratios, [before[some] for some in who])
    adjusted = _contrasts(better.values, better.variances, enough, scale, alpha)
    return Look(data.days[place], arms, plain, adjusted, better.explained)


def _contrasts(
    values: Sequence[float], variances: Sequence[float], enough: Sequence[bool], scale: float, alpha: float
) -> list[Contrast]:
    contrasts = []
    for value, variance, known in zip(values[1:], variances[1:], enough[1:], strict=True):
        difference, both, comparisons = value - values[0], variance + variances[0], len(values) - 1
        if not (known and enough[0]):
            contrasts.append(Contrast(difference, float("-inf"), float("inf"), 1.0))
            continue
        wide = radius(both, scale, alpha / comparisons)
        p = min(1.0, comparisons * p_value(log_likelihood_ratio(difference, both, scale)))
        contrasts.append(Contrast(difference, difference - wide, difference + wide, p))
    return contrasts
