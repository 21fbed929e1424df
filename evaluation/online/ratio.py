"""CTR and its variance, with users as the units.

Users are assigned to variants, so users are independent of each other, but the impressions of one user are not: a user
who clicks often does so repeatedly. A test that treats impressions as independent strongly underestimates the variance.
CTR is the ratio of two sums over users, and the delta method gives the variance of such a ratio:
Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics: A Practical Guide with Novel Ideas" (KDD 2018), 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two sums over n units.

    ``residuals`` float64 [n] are the contributions of the units to the ratio's error, (c - R m) / mean(m) for numerator
    c and denominator m. The ratio's error behaves like their mean (Deng et al. 2018, equation 3, before the variance).
    """

    value: float
    residuals: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """Return the variance of the ratio, which is that of the residuals' mean."""
        return mean_variance(self.residuals)


def ratio(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Ratio:
    """Return sum(numerators) / sum(denominators), both [n] with one entry per unit; NaN if the latter is 0."""
    whole = denominators.sum()
    if not whole:
        return Ratio(float("nan"), np.zeros(len(numerators)))
    value = numerators.sum() / whole
    return Ratio(float(value), (numerators - value * denominators) / (whole / len(denominators)))


def mean_variance(values: NDArray[np.float64]) -> float:
    """Return the variance of the mean of independent values [n]; infinite for fewer than two."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else float("inf")
