"""Metrics of the releases, computed at scrape time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.release_state import Action, Releases
from visualsearch.domain.releases import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visualsearch.domain.release_state import Transition
    from visualsearch.ports import ReleaseRepository

WAIT_S = 1.5
MOVES = 100
"""Number of recent transitions that are searched for canaries that were rolled back."""


def family(
    name: str, text: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    """Create a family of gauges. Each sample is a pair of label values and value."""
    made = GaugeMetricFamily(f"visualsearch_{name}", text, labels=labels)
    for values, number in samples:
        made.add_metric(list(values), number)
    return made


async def release_families(log: ReleaseRepository) -> list[GaugeMetricFamily]:
    """Return the states of releases, except retired ones, and the times of canary rollbacks; [] if unavailable."""
    try:
        async with asyncio.timeout(WAIT_S):
            records, moves = await asyncio.gather(log.records(), log.history(None, MOVES))
    except (TimeoutError, VisualSearchError):
        return []
    return _families(records.kept, moves)


def _families(records: Releases, moves: Sequence[Transition]) -> list[GaugeMetricFamily]:
    described = (
        ((one.release.name, one.state.value, str(one.release.model_version), one.release.profile), 1) for one in records
    )
    parameters = (
        ((one.release.name, name), value) for one in records for name, value in one.release.search_params.items()
    )
    canary = records.canary
    back = {
        move.release: move.at.timestamp()
        for move in sorted(moves, key=lambda move: move.at)
        if move.action is Action.ROLLBACK and move.from_state == ReleaseState.CANARY
    }
    return [
        family("release_info", "A release.", ["release", "state", "model_version", "profile"], described),
        family("search_parameter", "The nprobe or ef in use.", ["release", "parameter"], parameters),
        family(
            "canary_ratio",
            "Share of the searches that a canary answers.",
            ["release"],
            [((canary.release.name,), canary.canary.share / 100)] if canary and canary.canary else [],
        ),
        family(
            "shadow_ratio",
            "Share of the searches that also run on a release, unseen.",
            ["release"],
            (((one.release.name,), one.shadow / 100) for one in records if one.shadow),
        ),
        family(
            "canary_rollback_timestamp_seconds",
            "When a release was last taken back as a canary.",
            ["release"],
            (((name,), at) for name, at in back.items()),
        ),
    ]
