"""The nouns of the project. Standard library and numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

EMBEDDING_DIM = 256
IMAGE_SIDE = 224
"""Width and height in pixels of what the encoder reads."""

MAX_UPLOAD_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MIN_SIDE = 16

RESERVED_PREFIXES = ("queries/", ".")
"""Objects whose keys begin so are no pictures of the corpus: kept queries, our probe, parts of unfinished uploads."""

MAX_K = 200
DEFAULT_K = 50
NEAR_DUPLICATE_DISTANCE = 10
"""Hamming distance of two 64-bit pHashes up to which pictures fold: 1 false pair in 10,000 (ARCHITECTURE.md)."""
SURE_DISTANCE = 4
NEAR_DUPLICATE_COSINE = 0.4
"""Simple shapes may have near pHashes by chance: beyond ``SURE_DISTANCE`` bits the embeddings must be so alike as well.
Of edited copies none falls under it (benchmarks/results/folding.md)."""


class Status(StrEnum):
    """Where an image stands on its way into the index."""

    PENDING = "pending"
    INDEXED = "indexed"
    REJECTED = "rejected"


class Visibility(StrEnum):
    """Who may find an image: everybody, or its owner alone."""

    PUBLIC = "public"
    PRIVATE = "private"


class NearDuplicates(StrEnum):
    """What a search does with near-duplicates: fold them into their best member, or list each."""

    COLLAPSE = "collapse"
    KEEP = "keep"


class Consistency(StrEnum):
    """What a search must see: what has been indexed (``bounded``), or all that has been written when it begins."""

    BOUNDED = "bounded"
    STRONG = "strong"


class Priority(IntEnum):
    """Whose pictures the encoder takes first; the lower goes first."""

    SEARCHING = 1
    INDEXING = 2


@dataclass(frozen=True, slots=True)
class Box:
    """A region in pixels of the upright picture; ``x2`` and ``y2`` are exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y2 - self.y1

    def __str__(self) -> str:
        return f"{self.x1},{self.y1},{self.x2},{self.y2}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture made ready for the encoder.

    ``pixels`` is uint8 [224, 224, 3], RGB. ``width`` and ``height`` are those of the whole upright picture, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Prepared(Decoded):
    """A picture made ready for the index.

    ``phash`` and ``phash_mirrored`` are 64-bit perceptual hashes (0 .. 2**64-1) of what was asked for, and of its
    mirror image.
    """

    phash: int
    phash_mirrored: int


@dataclass(frozen=True, slots=True)
class NewImage:
    """What is known of an image when it is accepted, before anybody has decoded it."""

    uri: str
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    content_hash: bytes | None = None
    """SHA-256 of the file, 32 bytes."""
    etag: str = ""
    """Entity tag that the object will have; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Image:
    """One row of the catalog."""

    id: int
    uri: str
    width: int | None
    height: int | None
    created_at: datetime
    status: Status
    reason: str | None = None
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    content_hash: bytes | None = None
    """SHA-256 of the file, 32 bytes."""
    etag: str = ""
    """Entity tag of the object that this row speaks of; empty where nobody has said it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a result shows of an indexed image beside its score; sizes are in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Described:
    """What indexing found out about an image: written to the catalog before its vector becomes searchable."""

    image_id: int
    width: int
    height: int
    phash: int
    content_hash: bytes
    etag: str = ""


@dataclass(frozen=True, slots=True)
class VectorRow:
    """One row of a vector collection. ``embedding`` is float32 [256] of unit length."""

    image_id: int
    embedding: NDArray[np.float32]
    phash: int
    phash_mirrored: int
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    min_side: int = 0
    """The shorter side of the picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a vector collection found, in columns of equal length n, best first.

    ``ids`` int64 [n], ``scores`` float32 [n] (cosine similarity, re-scored exactly from the raw vectors), ``phashes``
    and ``phashes_mirrored`` uint64 [n]. ``exhausted`` says that the collection has no more to give for this query.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    phashes: NDArray[np.uint64]
    phashes_mirrored: NDArray[np.uint64]
    exhausted: bool
    rescore_ms: float = 0.0
    """How long the exact re-scoring took."""
    embeddings: NDArray[np.float32] | None = None
    """float32 [n, 256], where they came along."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search may return; applied inside the vector store, never after it.

    Public images always pass; private ones only where ``owner`` is theirs. An empty ``owner`` is nobody.
    """

    owner: str = ""
    blocked_sources: frozenset[str] = frozenset()
    blocked_ids: frozenset[int] = frozenset()
    min_side: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place of a ranking. ``near_duplicates`` are the ids that were folded into it, best first."""

    image_id: int
    score: float
    near_duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One answer of a search: a ranked image together with what is needed to show it. ``rank`` counts from 1."""

    id: int
    score: float
    uri: str
    rank: int
    width: int
    height: int
    near_duplicates: tuple[int, ...]


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


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search gives back. ``timings_ms`` has the keys decode, embed, ann and rank; all times in milliseconds.

    ``rescore_ms`` is the part of ann that went into exact scores.
    """

    query_image_id: int
    results: tuple[Result, ...]
    latency_ms: float
    timings_ms: Mapping[str, float]
    release: str
    rescore_ms: float = 0.0
    variants: Mapping[str, str] = field(default_factory=dict)
    """Which variant of each experiment answered."""


class EventKind(StrEnum):
    """What happened to an object."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the object behind a uri. ``image_id`` is set where a row already promises the image."""

    kind: EventKind
    uri: str
    image_id: int | None = None
    etag: str = ""
    """Version or entity tag of the object; part of the event's identity."""
    traceparent: str = field(default="", compare=False)
    """The trace that the event belongs to (W3C); empty for none."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object that the store says was written or removed. ``at_ns`` is the store's clock, nanoseconds since 1970."""

    kind: EventKind
    key: str
    etag: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as the stream handed it out. ``deliveries`` counts from 1."""

    entry_id: str
    event: Event
    deliveries: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """The event's image is searchable (or, for a deletion, gone)."""

    image_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event's image can never be indexed; the reason is for a person to read."""

    reason: str
    image_id: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Something outside the image failed; the event stays pending and will be delivered again."""

    reason: str


Outcome = Indexed | Rejected | Retry


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far the indexer is behind. ``lag`` is None where the server cannot tell; ages are in seconds."""

    lag: int | None
    pending: int
    dead_letters: int
    oldest_pending_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up on, and why."""

    entry_id: str
    event: Event
    reason: str
    deliveries: int
    died_at: datetime


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """An object in the store. ``size`` in bytes."""

    key: str
    size: int
    etag: str
    last_modified: datetime


def simple_etag(data: bytes) -> str:
    """Return the entity tag that S3 gives an object put in one piece: its MD5 in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def stack_pixels(decoded: Sequence[Decoded]) -> NDArray[np.uint8]:
    """Put pictures into one batch, uint8 [n, 224, 224, 3]."""
    return np.stack([one.pixels for one in decoded])
