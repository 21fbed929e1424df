"""CUPED: reduce the variance of a result with data about each user from before the experiment.

Deng, Xu, Kohavi, Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data"
(WSDM 2013), section 3: Y - theta (X - E X) has the same mean and, with theta = cov(X, Y) / var(X), the variance
(1 - rho^2) var(Y). X must be independent of the experiment, so its data end when the experiment begins.
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
    """The ratios of the variants after adjustment, their variances, and rho^2, the explained share of the variance."""

    values: list[float]
    variances: list[float]
    explained: float


def covariates(clicks: Array, shown: Array) -> Array:
    """Return the covariates of users [n] from before the experiment: float64 [n, 2].

    The first column is a user's contribution to the earlier CTR (``Ratio.residuals``), 0 for a new user. The second
    marks users with earlier data, because new users differ (Deng et al. 2013, section 4.3).
    """
    there = shown > 0
    residuals = np.zeros(len(clicks))
    if there.any():
        residuals[there] = ratio(clicks[there], shown[there]).residuals
    return np.column_stack([residuals, there.astype(np.float64)])


def adjust(ratios: Sequence[Ratio], before: Sequence[Array]) -> Adjusted:
    """Adjust the ratio of each variant by its users' covariates, float64 [n, c], in the order of its residuals.

    All variants share one theta, from least squares on all users, with each variant centred on its own mean.
    Covariates without variance are dropped.
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
