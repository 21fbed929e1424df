"""Compares a canary with the live release. Standard library only."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visualsearch.domain.recall import Recall

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS_MS = (10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 5000)
"""Upper bounds of the latency histogram, in milliseconds."""
MORE_ERRORS = 0.01
"""Largest difference between the canary's error rate and the live release's."""
FEWEST_ERRORS = 3
"""Fewest errors that count: one or two failures are no pattern, however few the requests."""
SLOWER, SLOWEST_UNSEEN_MS = 1.5, 50
"""Largest ratio of the canary's p95 to the live release's. A live p95 below ``SLOWEST_UNSEEN_MS`` counts as that many
milliseconds, because nobody notices faster answers. A breach counts only if so many late answers would occur by chance
less than once in a hundred (binomial, normal approximation)."""
LESS_RECALL, RECALL_QUERIES = 0.05, 20
"""Largest difference between the live release's recall@10 and the canary's, once this many queries are compared."""
FEWER_CLICKS, Z = 0.8, 2.33
"""Lowest ratio of the canary's CTR to the live release's. A breach counts only if chance would cause it less than once
in a hundred (one-sided two-proportion z-test)."""


@dataclass(frozen=True, slots=True)
class ReleaseStats:
    """Statistics of one release.

    ``slots`` counts answers by index into ``BOUNDS_MS``; the last slot holds slower answers.
    """

    requests: int = 0
    errors: int = 0
    slots: Mapping[int, int] = field(default_factory=dict)
    recall: Recall = field(default_factory=Recall)
    searches: int = 0
    """Recorded searches, of which ``clicked`` had a click."""
    clicked: int = 0

    @property
    def error_rate(self) -> float:
        """Share of the requests that failed."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p95_ms(self) -> float | None:
        """Upper bound in milliseconds of the histogram slot with the 95th percentile; None without answers."""
        total, seen = sum(self.slots.values()), 0
        for place in sorted(self.slots):
            seen += self.slots[place]
            if seen >= 0.95 * total:
                return float(BOUNDS_MS[min(place, len(BOUNDS_MS) - 1)])
        return None

    @property
    def ctr(self) -> float:
        """Share of the searches with a click."""
        return self.clicked / self.searches if self.searches else 0.0


def slot(milliseconds: float) -> int:
    """Return the index of a latency in ``BOUNDS_MS``; one past the last for slower answers."""
    return bisect.bisect_left(BOUNDS_MS, milliseconds)


def breaches(live: ReleaseStats, canary: ReleaseStats, min_requests: int) -> list[str]:
    """Describe where a canary is worse than permitted; requests and clicks count only from ``min_requests`` on."""
    found = []
    if canary.requests >= min_requests:
        found += _errors(live, canary) + _slow(live, canary)
    found += _recall(live.recall, canary.recall)
    if min(live.searches, canary.searches) >= min_requests:
        found += _clicks(live, canary)
    return found


def _errors(live: ReleaseStats, canary: ReleaseStats) -> list[str]:
    if canary.errors < FEWEST_ERRORS or canary.error_rate <= live.error_rate + MORE_ERRORS:
        return []
    return [
        f"{canary.error_rate:.1%} of {canary.requests} requests failed, of the live release's {live.error_rate:.1%}"
    ]


def _slow(live: ReleaseStats, canary: ReleaseStats) -> list[str]:
    if canary.p95_ms is None or live.p95_ms is None:
        return []
    limit_ms = SLOWER * max(live.p95_ms, SLOWEST_UNSEEN_MS)
    answers = sum(canary.slots.values())
    late = sum(number for place, number in canary.slots.items() if place >= bisect.bisect_right(BOUNDS_MS, limit_ms))
    # With few answers, more than one in twenty may be late by chance, for example after a start.
    if late <= 0.05 * answers + Z * math.sqrt(answers * 0.05 * 0.95):
        return []
    return [f"p95 is {canary.p95_ms:.0f} ms over {canary.requests} requests, the live release's {live.p95_ms:.0f} ms"]


def _recall(live: Recall, canary: Recall) -> list[str]:
    if min(live.queries, canary.queries) < RECALL_QUERIES or live.value is None or canary.value is None:
        return []
    if canary.value >= live.value - LESS_RECALL:
        return []
    return [f"recall@10 is {canary.value:.3f} over {canary.queries} queries, the live release's {live.value:.3f}"]


def _clicks(live: ReleaseStats, canary: ReleaseStats) -> list[str]:
    if canary.ctr >= FEWER_CLICKS * live.ctr:
        return []
    pooled = (live.clicked + canary.clicked) / (live.searches + canary.searches)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / live.searches + 1 / canary.searches))
    if not spread or (live.ctr - canary.ctr) / spread < Z:
        return []
    return [
        f"{canary.ctr:.1%} of {canary.searches} searches had a click, of the live release's {live.ctr:.1%} "
        f"of {live.searches}"
    ]
