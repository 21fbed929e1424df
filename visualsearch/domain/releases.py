"""Releases: a model version with the collection that it filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_COSINE

if TYPE_CHECKING:
    from visualsearch.domain.score_calibration import ScoreCalibration

PIXEL_REVISION = 2
"""Revision of the pixels of unusual pictures, such as pale ones on transparency. Raise it when only theirs change, and
add a line to docs/releases.md. A release of an earlier revision is still used."""


@dataclass(frozen=True, slots=True)
class Release:
    """A model version and its collection. A query is only ever compared within one release."""

    name: str
    model_version: int
    fingerprint: str
    """SHA-256 in hex of the encoder's graph and the preprocessing. From the second revision of the pixels on, a dot and
    its number follow."""
    collection: str
    profile: str
    """Name of an index profile in milvus/collection.yaml."""
    search_params: Mapping[str, int] = field(default_factory=dict)
    """Search parameters of the index, such as ``{"nprobe": 64}``."""
    duplicate_cosine: float = field(default=NEAR_DUPLICATE_COSINE, compare=False)
    """Lowest cosine of near-duplicates, from the model's card. Not compared: a build may be resumed after a card
    got one."""
    calibration: ScoreCalibration | None = field(default=None, compare=False)
    """The lowest score that is suggested for results; None if it is not known yet."""

    @property
    def encoder_fingerprint(self) -> str:
        """The fingerprint without the revision. Vectors are comparable where it is the same."""
        return self.fingerprint.partition(".")[0]

    @property
    def pixel_revision(self) -> int:
        """The revision of the pixels that the collection was built of."""
        return int(self.fingerprint.partition(".")[2] or 1)


class ReleaseState(StrEnum):
    """Lifecycle state of a release."""

    BUILDING = "building"
    READY = "ready"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Build:
    """Progress of a build: ``done`` of ``total`` images, which are all those with ids up to ``up_to``."""

    release: str
    up_to: int
    done: int
    total: int
