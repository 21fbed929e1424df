"""The gate: the conditions that a release must meet before users see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from indexer.releases import release_evaluation
from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.release_state import Check, Evaluation
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Release
    from visualsearch.releases.lifecycle import Lifecycle

PARITY = 0.999
"""Lowest permitted cosine of served embeddings with ONNX Runtime's. Half precision on a GPU stays above it."""
SLOWER = 1.5
"""Permitted ratio to the live release's latency, for machines so busy that the live release exceeds the budget too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the gate. ``margin`` is how far nDCG may be below the live release's."""

    margin: float
    recall: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class GateMeasurements:
    """Measurements of a release, and nDCG and latency of the live one."""

    same_file: bool
    cosine: float
    ndcg: float
    live_ndcg: float
    recall: float | None
    p95_ms: float
    live_p95_ms: float
    live: str


def judge(found: GateMeasurements, limits: Limits) -> tuple[Check, ...]:
    """Compare measurements with the limits."""
    lowest = found.live_ndcg - limits.margin
    slowest = max(limits.p95_ms, SLOWER * found.live_p95_ms)
    recall = 1.0 if found.recall is None else found.recall
    return (
        Check("fingerprint", float(found.same_file), "= 1", found.same_file, "card, release and file are the same"),
        Check("parity", found.cosine, f">= {PARITY}", found.cosine >= PARITY, "lowest cosine with ONNX Runtime"),
        Check(
            "ndcg@10",
            found.ndcg,
            f">= {lowest:.4f}",
            found.ndcg >= lowest,
            f"{found.live} has {found.live_ndcg:.4f}, the margin is {limits.margin:g}",
        ),
        Check("recall@10", recall, f">= {limits.recall:g}", recall >= limits.recall, "of the index, against exact"),
        Check(
            "p95",
            found.p95_ms,
            f"<= {slowest:.0f}",
            found.p95_ms <= slowest,
            f"ms to embed and search, {found.live} takes {found.live_p95_ms:.0f}",
        ),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Evaluates releases on the pictures of one folder; ``model`` is the encoder's folder in the model repository."""

    stores: Stores
    folder: Path
    model: Path
    limits: Limits

    async def evaluate(
        self, release: Release, lifecycle: Lifecycle, tell: Callable[[str, int, int], None] = lambda *_: None
    ) -> Evaluation:
        """Measure and judge a release, and record the result; a release that cannot be measured is recorded as failed.

        ``tell`` receives the current step, and how many pictures of how many are done.
        """
        try:
            found = await self._measure(release, tell)
        except VisualSearchError as error:
            await lifecycle.failed(release, f"the evaluation failed: {error}")
            raise
        evaluation = Evaluation(datetime.now(UTC), found.live, judge(found, self.limits))
        await lifecycle.evaluated(release.name, evaluation)
        return evaluation

    async def _measure(self, release: Release, tell: Callable[[str, int, int], None]) -> GateMeasurements:
        encoder, vectors = self.stores.encoder, self.stores.vectors
        live = await ActiveReleases(self.stores.release_repository).live()
        chosen = release_evaluation.evaluation_set(self.folder)
        mine = await self._embed(release, chosen, tell)
        alike = live.encoder_fingerprint == release.encoder_fingerprint
        theirs = mine if alike else await self._embed(live, chosen, tell)
        same, cosine = await release_evaluation.faithful(release, self.model, chosen.pixels, mine)
        tell("recall and time", 0, 1)
        return GateMeasurements(
            same,
            cosine,
            release_evaluation.quality(mine, chosen.categories),
            release_evaluation.quality(theirs, chosen.categories),
            await release_evaluation.recalled(vectors, release, mine),
            await release_evaluation.p95_ms(encoder, vectors, release, chosen.pixels),
            await release_evaluation.p95_ms(encoder, vectors, live, chosen.pixels),
            live.name,
        )

    async def _embed(
        self, release: Release, chosen: release_evaluation.GateSet, tell: Callable[[str, int, int], None]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        done, total = 0, len(chosen.pixels)

        def more(number: int) -> None:
            nonlocal done
            done += number
            tell(f"evaluating {release.name}", done, total)

        return await release_evaluation.embedded(self.stores.encoder, release, chosen.pixels, more)
