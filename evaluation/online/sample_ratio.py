"""Sample ratio mismatch: check the numbers of users against the variants' weights. A mismatch voids the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chisquare

if TYPE_CHECKING:
    from collections.abc import Sequence

ALARM = 0.001
"""Below this p there is a fault in assignment or recording, and the results of the experiment are invalid."""


def mismatch(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Return the p-value of the numbers of users under these weights, by Pearson's chi-squared test; 1 without users.

    As in Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments" (KDD 2019).
    """
    whole = sum(counts)
    if not whole:
        return 1.0
    expected = np.array(weights, np.float64) * whole / sum(weights)
    return float(chisquare(counts, expected).pvalue)
