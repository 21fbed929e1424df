"""A release: a model version and the collection that it filled. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Release:
    """A model version and the collection that it made; a query is only ever compared within one release."""

    name: str
    model_version: int
    fingerprint: str
    """SHA-256 in hex over the encoder's graph and the preprocessing."""
    collection: str
    profile: str
    """Name of an index profile in milvus/collection.yaml."""
    search_params: Mapping[str, int] = field(default_factory=dict)
    """What the index is searched with, such as ``{"nprobe": 64}``."""


class ReleaseState(StrEnum):
    """Where a release stands between its making and its end."""

    BUILDING = "building"
    READY = "ready"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Build:
    """How far a release's collection is built: ``done`` of ``total`` images, all with ids up to ``up_to``."""

    release: str
    up_to: int
    done: int
    total: int
