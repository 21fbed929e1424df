"""Sequential tests, valid for all daily looks together instead of one look chosen beforehand.

The mixture sequential probability ratio test of Johari, Koomen, Pekelis, Walsh, "Always Valid Inference: Continuous
Monitoring of A/B Tests" (Operations Research 70, 2022; arXiv 1512.04922), section 4: a normal estimate d of variance V,
and a N(0, t^2) mixture over the possible effects, after Robbins (1970). An estimate over users is normal only in the
limit, so the guarantee is that of an asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52, 2024. It assumes that
a returning user adds to the same estimate, which holds as long as late visits are like early ones.
"""

from __future__ import annotations

import math

MIN_UNITS = 50
"""Minimum number of users in a variant. The mean over fewer users is too far from normal for a test."""


def log_likelihood_ratio(effect: float, variance: float, scale: float) -> float:
    """Return log of the mixture likelihood ratio against no effect; ``scale`` is the mixture's standard deviation.

    sqrt(V / (V + t^2)) exp(d^2 t^2 / (2 V (V + t^2))), Johari et al. (2022), equation 10 with V for 2 sigma^2 / n.
    """
    if not 0 < variance < math.inf or scale <= 0:
        return 0.0
    both = variance + scale**2
    return 0.5 * math.log(variance / both) + effect**2 * scale**2 / (2 * variance * both)


def p_value(log_ratio: float) -> float:
    """Return the p-value of one look. The always-valid one is the least of all looks so far (Johari et al., 3.2)."""
    return min(1.0, math.exp(-log_ratio))


def radius(variance: float, scale: float, alpha: float) -> float:
    """Return half the width of the confidence sequence: the effect whose likelihood ratio reaches 1 / alpha.

    sqrt(V (V + t^2) / t^2 * log((V + t^2) / (V alpha^2))).
    """
    if not 0 < variance < math.inf or scale <= 0:
        return math.inf
    both = variance + scale**2
    return math.sqrt(variance * both / scale**2 * math.log(both / (variance * alpha**2)))
