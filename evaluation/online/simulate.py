"""Simulate experiments with a known effect, to validate the statistics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from evaluation.online.experiment_data import Data

if TYPE_CHECKING:
    from numpy.random import Generator

BEGIN = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class World:
    """A model of user behaviour. Users return, and each has an individual CTR, so their impressions are correlated."""

    users: int = 2000
    days: int = 28
    pre_days: int = 14
    ctr: float = 0.1
    spread: float = 30.0
    """A user's own CTR is Beta(ctr * spread, (1 - ctr) * spread). The lower the spread, the more users differ."""
    visits: float = 0.3
    """Mean visits per user and day. A user's own rate differs by a log-normal factor with sigma 1."""
    results: int = 10
    """Results shown per visit."""
    expected_lift: float = 0.1
    old: float = 0.7
    """Share of users with visits before the experiment."""


def experiment(world: World, lift: float, rng: Generator, weights: tuple[float, float] = (1, 1)) -> Data:
    """Simulate an experiment in which the second variant multiplies every user's CTR by 1 + ``lift``."""
    users = world.users
    place = (rng.random(users) * sum(weights) >= weights[0]).astype(np.int64)
    own = rng.beta(world.ctr * world.spread, (1 - world.ctr) * world.spread, users)
    often = world.visits * rng.lognormal(-0.5, 1.0, users)
    # Some users start later than the first day.
    there = rng.integers(0, world.days, users)[None] <= np.arange(world.days)[:, None] * 2
    shown = rng.poisson(often, (world.days, users)) * there * world.results
    clicks = rng.binomial(shown, np.minimum(1.0, own * np.where(place == 1, 1 + lift, 1.0)))
    shown_before = rng.poisson(often * world.pre_days) * (rng.random(users) < world.old) * world.results
    clicks_before = rng.binomial(shown_before, own)
    seen = shown.sum(axis=0) > 0  # users without visits are in no experiment
    return Data(
        "simulated",
        ("a", "b"),
        weights,
        world.expected_lift,
        "running",
        [BEGIN + timedelta(days=day) for day in range(world.days)],
        place[seen],
        clicks.cumsum(axis=0, dtype=np.float64)[:, seen],
        shown.cumsum(axis=0, dtype=np.float64)[:, seen],
        clicks_before[seen].astype(np.float64),
        shown_before[seen].astype(np.float64),
    )
