"""Experiments whose truth is known, to try the statistics on."""

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
    """How users behave. Each has a CTR of its own, so that a user's impressions are alike, and comes back."""

    users: int = 2000
    days: int = 28
    pre_days: int = 14
    ctr: float = 0.1
    spread: float = 30.0
    """A user's own CTR is Beta(ctr * spread, (1 - ctr) * spread): the lower, the more users differ."""
    visits: float = 0.3
    """Mean visits of a user a day; users differ in it by a log-normal factor of sigma 1."""
    results: int = 10
    """Results shown in a visit."""
    expected_lift: float = 0.1
    old: float = 0.7
    """Part of the users who were there before the experiment."""


def experiment(world: World, lift: float, rng: Generator, weights: tuple[float, float] = (1, 1)) -> Data:
    """Draw an experiment in which the second variant changes every user's CTR by the factor 1 + ``lift``."""
    users = world.users
    place = (rng.random(users) * sum(weights) >= weights[0]).astype(np.int64)
    own = rng.beta(world.ctr * world.spread, (1 - world.ctr) * world.spread, users)
    often = world.visits * rng.lognormal(-0.5, 1.0, users)
    # Not everybody comes from the first day on.
    there = rng.integers(0, world.days, users)[None] <= np.arange(world.days)[:, None] * 2
    shown = rng.poisson(often, (world.days, users)) * there * world.results
    clicks = rng.binomial(shown, np.minimum(1.0, own * np.where(place == 1, 1 + lift, 1.0)))
    shown_before = rng.poisson(often * world.pre_days) * (rng.random(users) < world.old) * world.results
    clicks_before = rng.binomial(shown_before, own)
    seen = shown.sum(axis=0) > 0  # who never comes is in no experiment
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
