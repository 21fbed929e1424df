"""Sample ratio mismatch: do the variants have as many users as their weights say? If not, no other number counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chisquare

if TYPE_CHECKING:
    from collections.abc import Sequence

ALARM = 0.001
"""Below this p something is wrong with assignment or recording, and the experiment's numbers are worth nothing."""


def mismatch(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Return the p-value of these numbers of users under these weights: Pearson's chi-squared test.

    As in Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments" (KDD 2019). Without
    users it is 1.
    """
    whole = sum(counts)
    if not whole:
        return 1.0
    expected = np.array(weights, np.float64) * whole / sum(weights)
    return float(chisquare(counts, expected).pvalue)
