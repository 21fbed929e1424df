"""Experiments: assignment of users to variants, and rules for concurrent experiments. Standard library only.

Layers follow Tang et al., "Overlapping Experiment Infrastructure: More, Better, Faster Experimentation" (KDD 2010). The
experiments of one layer share its hash space, so a user is in at most one of them. Different layers are hashed with
different salts, so assignments in two layers are independent. Two layers must not set the same parameter.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

BUCKETS = 10_000
"""Number of buckets of a layer's hash space. An experiment owns a contiguous range of them."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Variant:
    """The parameters that a variant changes for its users. A parameter that is None keeps its default."""

    name: str
    weight: int = 1
    release: str | None = None
    search_params: Mapping[str, int] = field(default_factory=dict)
    """For example ``{"nprobe": 128}`` or ``{"ef": 400}``."""
    candidates: int | None = None
    """Minimum number of rows that are fetched and scored exactly."""
    keep_near_duplicates: bool | None = None
    """List near-duplicates instead of folding them. Callers that ask for them get them in any case."""
    near_duplicate_distance: int | None = None
    """Largest Hamming distance of two pHashes at which pictures are folded."""
    min_side: int | None = None
    """Images whose shorter side is below this many pixels are not shown."""

    @property
    def sets(self) -> set[str]:
        """Names of the parameters that the variant sets."""
        plain = ("release", "candidates", "keep_near_duplicates", "near_duplicate_distance", "min_side")
        return {name for name in plain if getattr(self, name) is not None} | set(self.search_params)


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment. While it runs, it owns the buckets from ``first_bucket`` to before ``end_bucket`` of its layer.

    The first variant is the control.
    """

    name: str
    layer: str
    variants: tuple[Variant, ...]
    share: float = 1.0
    """Share of the layer's users, in (0, 1]."""
    expected_lift: float = 0.05
    """Relative change of CTR for which the test has the most power. It is fixed before any data is seen."""
    state: str = "draft"
    first_bucket: int = 0
    end_bucket: int = 0
    started_at: datetime | None = None
    stopped_at: datetime | None = None

    @property
    def sets(self) -> set[str]:
        """Names of the parameters that any variant sets."""
        return set().union(*(variant.sets for variant in self.variants))

    @property
    def releases(self) -> set[str]:
        """Names of the releases that the variants need."""
        return {variant.release for variant in self.variants if variant.release is not None}


def unit_of(user_id: int | None, query_image_id: int) -> str:
    """Return the unit of assignment: the user, or the query if the user is unknown."""
    return f"query {query_image_id}" if user_id is None else f"user {user_id}"


def bucket(salt: str, unit: str, of: int = BUCKETS) -> int:
    """Hash a unit uniformly into 0 .. of - 1. Different salts give independent results.

    Takes the first 64 bits of SHA-256 modulo ``of``. The last bucket is too small by less than 2**-50.
    """
    return int.from_bytes(hashlib.sha256(f"{salt}\n{unit}".encode()).digest()[:8], "big") % of


def assign(experiment: Experiment, unit: str) -> Variant | None:
    """Return the variant that a unit sees, which is always the same; None if the unit is not in the experiment."""
    place = bucket(f"layer {experiment.layer}", unit)
    if not experiment.first_bucket <= place < experiment.end_bucket:
        return None
    # A salt other than the layer's, so that users of a reused bucket are spread over all variants.
    ticket = bucket(f"experiment {experiment.name}", unit, sum(variant.weight for variant in experiment.variants))
    for variant in experiment.variants:
        ticket -= variant.weight
        if ticket < 0:
            return variant
    raise AssertionError("tickets are below the sum of the weights")


def check(experiment: Experiment) -> None:
    """Raise ``InvalidInput`` if the definition of an experiment is not valid."""
    names = [variant.name for variant in experiment.variants]
    for name in (experiment.name, experiment.layer, *names):
        if not NAME.fullmatch(name):
            raise InvalidInput(f"{name[:60]!r} is no name: a-z, 0-9, _ and -, at most 50 of them.")
    if not 2 <= len(names) == len(set(names)) <= 10:
        raise InvalidInput("An experiment needs 2 to 10 variants of different names; the first is the control.")
    if not experiment.sets:
        raise InvalidInput("No variant sets anything: name a parameter, such as wide:nprobe=128.")


def check_start(experiment: Experiment, running: Iterable[Experiment], usable: Mapping[str, Mapping[str, int]]) -> None:
    """Raise ``InvalidInput`` if an experiment cannot start now.

    ``usable`` holds the search parameters of each release that can answer, by name; the live release has the name "".
    """
    for variant in experiment.variants:
        params = usable.get(variant.release or "")
        if params is None:
            known = ", ".join(sorted(filter(None, usable))) or "none"
            raise InvalidInput(
                f"Variant {variant.name} needs release {variant.release}, which cannot answer: {known} can."
            )
        if unknown := set(variant.search_params) - set(params):
            raise InvalidInput(
                f"Variant {variant.name} sets {', '.join(sorted(unknown))}, but its release is searched with "
                f"{', '.join(sorted(params)) or 'no parameter'}."
            )
    for other in running:
        if other.layer != experiment.layer and (both := other.sets & experiment.sets):
            raise InvalidInput(
                f"{other.name} runs in layer {other.layer} and sets {', '.join(sorted(both))} too: "
                "put both in one layer."
            )


def free_run(running: Sequence[Experiment], layer: str, share: float) -> tuple[int, int]:
    """Return the first free range of buckets of a layer that is long enough, as (first, end).

    Raises ``InvalidInput`` if there is none.
    """
    wanted, at = max(1, round(share * BUCKETS)), 0
    for other in sorted((one for one in running if one.layer == layer), key=lambda one: one.first_bucket):
        if other.first_bucket - at >= wanted:
            return at, at + wanted
        at = max(at, other.end_bucket)
    if BUCKETS - at < wanted:
        raise InvalidInput(f"Layer {layer} has no {share:.0%} in one piece left: stop an experiment, or take less.")
    return at, at + wanted
