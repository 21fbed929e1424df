"""Releases: a model version with the collection that it filled. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Release:
    """A model version and its collection. A query is only ever compared within one release."""

    name: str
    model_version: int
    fingerprint: str
    """SHA-256 in hex of the encoder's graph and the preprocessing."""
    collection: str
    profile: str
    """Name of an index profile in milvus/collection.yaml."""
    search_params: Mapping[str, int] = field(default_factory=dict)
    """Search parameters of the index, such as ``{"nprobe": 64}``."""


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
