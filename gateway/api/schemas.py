"""Schemas of the requests and responses of the REST API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from gateway.api.release_schemas import Release
from visualsearch.domain.images import Status, Visibility

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.statistics import Statistics
    from visualsearch.domain.images import Quota, Usage
    from visualsearch.domain.recall import Recall
    from visualsearch.domain.release_state import ReleaseRecord
    from visualsearch.releases.canary import ReleaseStats
    from visualsearch.releases.canary_monitor import CanaryProgress

MAX_ID = 2**63 - 1
MAX_RANK = 2**31 - 1

ImageId = Annotated[int, Path(ge=-MAX_ID, le=MAX_ID, description="The image's id.")]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


EXAMPLE: JsonValue = {
    "query_image_id": 999,
    "results": [
        {
            "id": 42,
            "score": 0.93,
            "uri": "s3://images/uploads/42.jpg",
            "rank": 1,
            "width": 640,
            "height": 480,
            "near_duplicates": [57],
        }
    ],
    "latency_ms": 31.5,
    "timings_ms": {"decode": 3.1, "embed": 20.4, "ann": 6.2, "rank": 1.8},
    "release": "v1_ivf_pq",
}


class Result(BaseModel):
    """One result. ``score`` is the cosine similarity in [-1, 1]; ``rank`` counts from 1."""

    id: int
    score: float
    uri: str
    rank: int
    width: int
    height: int
    near_duplicates: list[int]


class Timings(BaseModel):
    """Milliseconds per stage."""

    decode: float
    embed: float
    ann: float
    rank: float


class SearchAnswer(BaseModel):
    """Results, best first. Clicks refer to the search by ``query_image_id``."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    query_image_id: int
    results: list[Result]
    latency_ms: float
    timings_ms: Timings
    release: str
    suggested_min_score: Annotated[
        float | None,
        Field(description="A score that 1 in 1,000 unrelated pictures reaches. Omitted while it is not known."),
    ] = None
    experiments: Annotated[
        dict[str, str] | None, Field(description="The user's variant in each experiment. Omitted if there is none.")
    ] = None


class Accepted(BaseModel):
    """An accepted image. It will be indexed, or rejected with a reason."""

    id: int
    uri: str
    status: Literal["pending"]


class ImageFacts(BaseModel):
    """Metadata and status of an image; ``reason`` says why it was rejected."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    uri: str
    width: int | None
    height: int | None
    created_at: datetime
    status: Literal["pending", "indexed", "rejected"]
    reason: str | None


class ListedImage(ImageFacts):
    """An image in a listing."""

    source: str
    visibility: Visibility


class ImageList(BaseModel):
    """A page of images in the order of their ids. ``next`` is the value of `after` for the next page, if there is one.

    A page can be shorter than its limit, or empty, although there is a next one.
    """

    model_config = ConfigDict(from_attributes=True)

    images: list[ListedImage]
    next: int | None


class Click(BaseModel):
    """A click on a result of a search."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": 7, "query_image_id": 999, "displayed_image_id": 42, "rank": 1}]}
    )

    user_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    query_image_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    displayed_image_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    rank: Annotated[int, Field(strict=True, ge=1, le=MAX_RANK)]


class Stream(BaseModel):
    """Backlog of indexing, in events; ``lag`` is null if the server does not know it."""

    lag: int | None
    pending: int
    dead_letters: int
    oldest_pending_s: float


class Build(BaseModel):
    """Progress of building a release's collection, in images."""

    release: str
    up_to: int
    done: int
    total: int


class Difference(BaseModel):
    """A count of the last reconciliation; ``release`` is empty for those between object store and Postgres."""

    release: str
    kind: str
    number: int


class SampledRecall(BaseModel):
    """Recall@10 of a release's sampled queries of the last ten minutes."""

    release: str
    recall: float | None
    hits: int
    expected: int
    queries: int

    @classmethod
    def of(cls, release: str, recall: Recall) -> SampledRecall:
        """Return the response for one release."""
        return cls(release=release, recall=recall.value, **asdict(recall))


class ReleaseState(BaseModel):
    """State of a release, and the reason for it."""

    name: str
    state: str
    since: datetime
    note: str

    @classmethod
    def of(cls, record: ReleaseRecord) -> ReleaseState:
        """Return the response for one release."""
        return cls(name=record.release.name, state=record.state.value, since=record.since, note=record.note)


class SeenOfRelease(BaseModel):
    """Statistics of a release since the canary began."""

    requests: int
    errors: int
    p95_ms: float | None
    recall: float | None
    recall_queries: int
    searches: int
    clicked: int

    @classmethod
    def of(cls, seen: ReleaseStats) -> SeenOfRelease:
        """Return the response for one release."""
        return cls(
            requests=seen.requests,
            errors=seen.errors,
            p95_ms=seen.p95_ms,
            recall=seen.recall.value,
            recall_queries=seen.recall.queries,
            searches=seen.searches,
            clicked=seen.clicked,
        )


class CanaryFacts(BaseModel):
    """The canary's share in percent, and statistics of the canary and the live release."""

    release: str
    share: float
    step: int
    steps: list[float]
    seen: dict[str, SeenOfRelease]

    @classmethod
    def of(cls, progress: CanaryProgress) -> CanaryFacts:
        """Return the response for the canary."""
        canary = progress.canary
        seen = {name: SeenOfRelease.of(stats) for name, stats in sorted(progress.seen.items())}
        return cls(release=progress.release, share=canary.share, step=canary.step, steps=list(canary.steps), seen=seen)


class ShadowFacts(BaseModel):
    """Similarity of a shadow release's answers to the live ones; ``share`` is in percent of the queries."""

    release: str
    share: float
    queries: int
    errors: int
    shed: int
    overlap: float | None
    rbo: float | None
    same_first: float | None


class UsageFacts(BaseModel):
    """Pictures that an owner stores, without rejected ones, and the bytes of their files; limits are null if none."""

    images: int
    bytes: int
    images_limit: int | None
    bytes_limit: int | None

    @classmethod
    def of(cls, usage: Usage, quota: Quota) -> UsageFacts:
        """Return the response for what an owner stores and may store."""
        return cls(
            images=usage.images,
            bytes=usage.bytes,
            images_limit=quota.images or None,
            bytes_limit=quota.bytes or None,
        )


class Stats(BaseModel):
    """Counts of the system. A part is null if its server does not answer, and ``errors`` gives the reason.

    A collection that is being created or dropped, or is not loaded, cannot be counted. Its count is null, with the
    reason in ``errors``. Callers who are no administrators get the number of images that they may see, the live
    release and what they store; everything else is null.
    """

    images: dict[str, int] | None
    stream: Stream | None
    collections: dict[str, int | None] | None
    live_release: Release | None
    builds: list[Build] | None
    differences: list[Difference] | None
    interactions_waiting: int | None
    recall: list[SampledRecall] | None = None
    releases: list[ReleaseState] | None = None
    canary: CanaryFacts | None = None
    shadow: ShadowFacts | None = None
    usage: UsageFacts | None = None
    errors: list[str]

    @classmethod
    def of(cls, found: Statistics, quota: Quota) -> Stats:
        """Return the response for what was counted."""
        return cls(
            images=None if found.images is None else _image_counts(found.images),
            stream=None if found.stream is None else Stream(**asdict(found.stream)),
            collections=None if found.collections is None else dict(found.collections),
            live_release=None if found.live is None else Release(**asdict(found.live)),
            builds=None if found.builds is None else [Build(**asdict(one)) for one in found.builds],
            differences=None if found.differences is None else _differences(found.differences),
            interactions_waiting=found.interactions_waiting,
            recall=None if found.recall is None else [SampledRecall.of(*one) for one in found.recall.items()],
            releases=None if found.releases is None else [ReleaseState.of(one) for one in found.releases],
            canary=None if found.canary is None else CanaryFacts.of(found.canary),
            shadow=None if found.shadow is None else ShadowFacts(**asdict(found.shadow)),
            usage=None if found.usage is None else UsageFacts.of(found.usage, quota),
            errors=list(found.errors),
        )


def _image_counts(counts: Mapping[Status, int]) -> dict[str, int]:
    return {status.value: counts[status] for status in Status} | {"total": sum(counts.values())}


def _differences(found: Mapping[tuple[str, str], int]) -> list[Difference]:
    return [Difference(release=release, kind=kind, number=number) for (release, kind), number in found.items()]


class S3Notice(BaseModel):
    """An S3 event notification; each record has ``eventName``, ``s3.bucket.name`` and ``s3.object.key``."""

    Records: list[dict[str, object]]


class RefusedRecord(BaseModel):
    """A record of the notification that cannot be used, by its index, and the reason."""

    record: int
    reason: str


class NotificationResponse(BaseModel):
    """The number of records that were put on the stream, and the refused ones."""

    accepted: int
    refused: list[RefusedRecord]


class DeadLetter(BaseModel):
    """An event that failed permanently, and the reason."""

    entry: str
    kind: str
    uri: str
    reason: str
    deliveries: int
    died_at: datetime


class Retry(BaseModel):
    """The dead letters to retry; all if none is given."""

    entries: Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=1000)] = []


class Problem(BaseModel):
    """An error (RFC 9457); ``detail`` says what went wrong and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str


class Health(BaseModel):
    """The process is alive."""

    ok: Literal[True] = True
