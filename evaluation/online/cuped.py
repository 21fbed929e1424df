"""CUPED: take out of the result what was known of each user before the experiment began.

Deng, Xu, Kohavi, Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data"
(WSDM 2013), section 3: Y - theta (X - E X) has the same mean and, with theta = cov(X, Y) / var(X), the variance
(1 - rho^2) var(Y). X must not know of the experiment, so it ends where that begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.online.ratio import Ratio, mean_variance, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The ratios of the variants after adjustment, their variances, and rho^2, the part of the variance explained."""

    values: list[float]
    variances: list[float]
    explained: float


def covariates(clicks: Array, shown: Array) -> Array:
    """Describe users [n] by what they did before: float64 [n, 2].

    The first column is a user's own part in the CTR of then (``Ratio.residuals``), 0 for a user who was not there; the
    second says who was there, for newcomers differ (Deng et al. 2013, section 4.3, on users without such data).
    """
    there = shown > 0
    residuals = np.zeros(len(clicks))
    if there.any():
        residuals[there] = ratio(clicks[there], shown[there]).residuals
    return np.column_stack([residuals, there.astype(np.float64)])


def adjust(ratios: Sequence[Ratio], before: Sequence[Array]) -> Adjusted:
    """Adjust the ratio of each variant by its users' covariates, float64 [n, c], in the order of its residuals.

    theta is one for all variants, by least squares on all users, each variant around its own mean; a covariate that
    says nothing is left out.
    """
    everybody = np.concatenate(before)
    mean = everybody.mean(axis=0)
    centred = np.concatenate([some - some.mean(axis=0) for some in before])
    residuals = np.concatenate([one.residuals for one in ratios])
    telling = centred.std(axis=0) > 0
    theta = np.zeros(everybody.shape[1])
    if telling.any():
        theta[telling] = np.linalg.lstsq(centred[:, telling], residuals, rcond=None)[0]
    values, variances = [], []
    for one, some in zip(ratios, before, strict=True):
        values.append(one.value - float((some.mean(axis=0) - mean) @ theta))
        variances.append(mean_variance(one.residuals - some @ theta))
    spread = float(residuals.var())
    explained = 1 - float((residuals - centred @ theta).var()) / spread if spread else 0.0
    return Adjusted(values, variances, explained)
