"""Assigns searches to experiments, and applies their variants. Depends on no framework and no server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput, Unavailable
from visualsearch.domain.experiments import assign, check_start, free_run, unit_of
from visualsearch.domain.search import NearDuplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.search.options import SearchOptions
    from visualsearch.domain.experiments import Experiment, Variant
    from visualsearch.domain.releases import Release
    from visualsearch.ports import ExperimentRepository, ReleaseRepository

CACHE_S = 1.0
"""How long definitions are cached. Every process of the gateway has its own cache."""
REFRESH_S = 0.3
"""Timeout of refreshing the definitions. If Postgres hangs, searches use the cached ones."""


@dataclass(frozen=True, slots=True)
class ExperimentAssignment:
    """How to answer one search. ``release`` is None if no experiment chooses one."""

    options: SearchOptions
    release: Release | None = None
    search_params: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    """The variant of each experiment that applies, by experiment name."""

    def on(self, release: Release) -> Release:
        """Return a release with the search parameters of the variants applied."""
        return replace(release, search_params={**release.search_params, **self.search_params})


class ExperimentAssigner:
    """Assigns searches to the running experiments, and starts and stops experiments.

    The experiments and the releases that they may use are cached for ``CACHE_S``.
    """

    def __init__(
        self,
        experiment_repository: ExperimentRepository,
        release_repository: ReleaseRepository,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._experiment_repository = experiment_repository
        self._release_repository = release_repository
        self._running: list[Experiment] = []
        self._usable: dict[str, Release] = {}
        self._until = 0.0

    async def assignment(self, options: SearchOptions, query_image_id: int) -> ExperimentAssignment:
        """Assign a search to the running experiments. Skip experiments that name an unavailable release."""
        await self._refresh()
        unit, assignment = unit_of(options.user_id, query_image_id), ExperimentAssignment(options)
        for experiment in self._running:
            # Skip the whole experiment, not one variant: the others would have nothing to be compared with.
            if experiment.releases <= self._usable.keys() and (variant := assign(experiment, unit)):
                assignment = self._with(assignment, experiment, variant)
        return assignment

    async def start(self, name: str) -> Experiment:
        """Start a draft. Raises ``NotFound``; ``InvalidInput`` if it cannot start."""
        experiment, running = await self._experiment_repository.get(name), await self._experiment_repository.running()
        records = await self._release_repository.records()
        usable = {one.release.name: one.release.search_params for one in records.answering}
        usable[""] = records.live.release.search_params if records.live else {}
        check_start(experiment, running, usable)
        if not await self._experiment_repository.start(name, *free_run(running, experiment.layer, experiment.share)):
            now = await self._experiment_repository.get(name)
            raise InvalidInput(f"Experiment {name} is {now.state} and cannot start; if it is a draft, try again.")
        return await self._experiment_repository.get(name)

    async def stop(self, name: str) -> Experiment:
        """Stop an experiment. Raises ``NotFound``; ``InvalidInput`` if it is not running."""
        if not await self._experiment_repository.stop(name):
            state = (await self._experiment_repository.get(name)).state
            raise InvalidInput(f"Experiment {name} is {state}: only a running one can stop.")
        return await self._experiment_repository.get(name)

    async def _refresh(self) -> None:
        if self._clock() < self._until:
            return
        self._until = self._clock() + CACHE_S
        try:
            async with asyncio.timeout(REFRESH_S):
                running = await self._experiment_repository.running()
                named = any(one.releases for one in running)
                usable = (await self._release_repository.records()).answering if named else ()
        except (Unavailable, TimeoutError):
            return
        self._running = running
        self._usable = {one.release.name: one.release for one in usable}

    def _with(self, assignment: ExperimentAssignment, experiment: Experiment, variant: Variant) -> ExperimentAssignment:
        candidates = {} if variant.candidates is None else {"candidates": variant.candidates}
        return ExperimentAssignment(
            _varied_options(assignment.options, variant),
            self._usable[variant.release] if variant.release else assignment.release,
            {**assignment.search_params, **variant.search_params, **candidates},
            {**assignment.variants, experiment.name: variant.name},
        )


def _varied_options(options: SearchOptions, variant: Variant) -> SearchOptions:
    """Apply a variant's ranking policy to the search options."""
    if variant.keep_near_duplicates:
        options = replace(options, near_duplicates=NearDuplicates.KEEP)
    if variant.near_duplicate_distance is not None:
        options = replace(options, near_duplicate_distance=variant.near_duplicate_distance)
    if variant.min_side is not None:
        options = replace(options, where=replace(options.where, min_side=max(options.where.min_side, variant.min_side)))
    return options
