"""Experiments: who sees which variant, and what may run beside what. Standard library only.

Layers as in Tang et al., "Overlapping Experiment Infrastructure: More, Better, Faster Experimentation" (KDD 2010): the
experiments of one layer share its hash space and never meet in one user; different layers are hashed with different
salts, so what a user sees in one says nothing of the other. Two layers must not set the same parameter.
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
"""A layer's hash space is cut into so many; an experiment's share is a run of them."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}", re.ASCII)
RUNNING, DRAFT, STOPPED = "running", "draft", "stopped"


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs for those who are in it; what is not set stays as it is for everybody."""

    name: str
    weight: int = 1
    release: str | None = None
    search_params: Mapping[str, int] = field(default_factory=dict)
    """Such as ``{"nprobe": 128}`` or ``{"ef": 400}``."""
    candidates: int | None = None
    """At least so many are fetched and scored exactly."""
    keep_near_duplicates: bool | None = None
    """List near-duplicates where they would be folded; callers who ask for them get them anyway."""
    near_duplicate_distance: int | None = None
    """Hamming distance of two pHashes up to which pictures fold."""
    min_side: int | None = None
    """Images with a shorter side below this many pixels are not shown."""

    @property
    def sets(self) -> set[str]:
        """Names of the parameters that it sets."""
        plain = ("release", "candidates", "keep_near_duplicates", "near_duplicate_distance", "min_side")
        return {name for name in plain if getattr(self, name) is not None} | set(self.search_params)


@dataclass(frozen=True, slots=True)
class Experiment:
    """While it runs, buckets ``first_bucket`` to before ``end_bucket`` of its layer are its own.

    The first variant is the control.
    """

    name: str
    layer: str
    variants: tuple[Variant, ...]
    share: float = 1.0
    """Part of the layer's users, in (0, 1]."""
    expected_lift: float = 0.05
    """Relative change of CTR that the test is most sensitive to; settled before anything is seen."""
    state: str = DRAFT
    first_bucket: int = 0
    end_bucket: int = 0
    started_at: datetime | None = None
    stopped_at: datetime | None = None

    @property
    def sets(self) -> set[str]:
        """Names of the parameters that any of its variants sets."""
        return set().union(*(variant.sets for variant in self.variants))

    @property
    def releases(self) -> set[str]:
        """Names of the releases that its variants need."""
        return {variant.release for variant in self.variants if variant.release is not None}


def unit_of(user_id: int | None, query_image_id: int) -> str:
    """Name who is assigned: the user, or the query where nobody says who asks."""
    return f"query {query_image_id}" if user_id is None else f"user {user_id}"


def bucket(salt: str, unit: str, of: int = BUCKETS) -> int:
    """Hash a unit into 0 .. of - 1, evenly and, with another salt, independently.

    SHA-256's first 64 bits modulo ``of``: the last bucket's want is below 2**-50.
    """
    return int.from_bytes(hashlib.sha256(f"{salt}\n{unit}".encode()).digest()[:8], "big") % of


def assign(experiment: Experiment, unit: str) -> Variant | None:
    """Return the variant that a unit sees, always the same; None where it is not in the experiment."""
    place = bucket(f"layer {experiment.layer}", unit)
    if not experiment.first_bucket <= place < experiment.end_bucket:
        return None
    # Another salt than the layer's: whoever had the bucket before must not all fall into one variant.
    ticket = bucket(f"experiment {experiment.name}", unit, sum(variant.weight for variant in experiment.variants))
    for variant in experiment.variants:
        ticket -= variant.weight
        if ticket < 0:
            return variant
    raise AssertionError("tickets are below the sum of the weights")


def check(experiment: Experiment) -> None:
    """Raise ``InvalidInput`` with one sentence where an experiment cannot be as it is described."""
    names = [variant.name for variant in experiment.variants]
    for name in (experiment.name, experiment.layer, *names):
        if not NAME.fullmatch(name):
            raise InvalidInput(f"{name[:60]!r} is no name: a-z, 0-9, _ and -, at most 50 of them.")
    if not 2 <= len(names) == len(set(names)) <= 10:
        raise InvalidInput("An experiment needs 2 to 10 variants of different names; the first is the control.")
    if not experiment.sets:
        raise InvalidInput("No variant sets anything: name a parameter, such as wide:nprobe=128.")


def check_start(experiment: Experiment, running: Iterable[Experiment], usable: Mapping[str, Mapping[str, int]]) -> None:
    """Raise ``InvalidInput`` where an experiment cannot start now.

    ``usable`` holds the search parameters of each release that can answer, by name; of the live one under "".
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
    """Find the first free run of a layer's buckets that is long enough: (first, end).

    Raises ``InvalidInput`` where there is none.
    """
    wanted, at = max(1, round(share * BUCKETS)), 0
    for other in sorted((one for one in running if one.layer == layer), key=lambda one: one.first_bucket):
        if other.first_bucket - at >= wanted:
            return at, at + wanted
        at = max(at, other.end_bucket)
    if BUCKETS - at < wanted:
        raise InvalidInput(f"Layer {layer} has no {share:.0%} in one piece left: stop an experiment, or take less.")
    return at, at + wanted
