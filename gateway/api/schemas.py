"""The shapes of what comes in and goes out, as the REST contract has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

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
    """One result. ``score`` is cosine similarity in [-1, 1]; ``rank`` counts from 1."""

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
    """Results, best first. ``query_image_id`` names the query in clicks."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    query_image_id: int
    results: list[Result]
    latency_ms: float
    timings_ms: Timings
    release: str
    experiments: Annotated[
        dict[str, str] | None, Field(description="The variant of each experiment that answered; left out without any.")
    ] = None


class Accepted(BaseModel):
    """A promise: the image becomes searchable, or is rejected with a reason."""

    id: int
    uri: str
    status: Literal["pending"]


class ImageFacts(BaseModel):
    """What is known of an image; ``reason`` says why it was rejected."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    uri: str
    width: int | None
    height: int | None
    created_at: datetime
    status: Literal["pending", "indexed", "rejected"]
    reason: str | None


class Click(BaseModel):
    """Somebody clicked a result of a search."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": 7, "query_image_id": 999, "displayed_image_id": 42, "rank": 1}]}
    )

    user_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    query_image_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    displayed_image_id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    rank: Annotated[int, Field(strict=True, ge=1, le=MAX_RANK)]


class Stream(BaseModel):
    """How far indexing is behind; ``lag`` is null where the server cannot tell."""

    lag: int | None
    pending: int
    dead_letters: int
    oldest_pending_s: float


class Release(BaseModel):
    """Which model and which collection answer."""

    name: str
    model_version: int
    fingerprint: str
    collection: str
    profile: str
    search_params: dict[str, int]


class Build(BaseModel):
    """How far a release's collection is built, in images."""

    release: str
    up_to: int
    done: int
    total: int


class Difference(BaseModel):
    """What the last reconciliation counted; ``release`` is empty where object store and catalog differ."""

    release: str
    kind: str
    number: int


class SampledRecall(BaseModel):
    """Recall@10 of a release's queries of the last ten minutes, as far as they were sampled."""

    release: str
    recall: float | None
    hits: int
    expected: int
    queries: int


class ReleaseState(BaseModel):
    """Where a release stands, and why."""

    name: str
    state: str
    since: datetime
    note: str


class SeenOfRelease(BaseModel):
    """What was seen of a release since the canary began."""

    requests: int
    errors: int
    p95_ms: float | None
    recall: float | None
    recall_queries: int
    searches: int
    clicked: int


class CanaryFacts(BaseModel):
    """The canary's share in percent, and what is seen of it beside the live release."""

    release: str
    share: float
    step: int
    steps: list[float]
    seen: dict[str, SeenOfRelease]


class ShadowFacts(BaseModel):
    """How alike the answers of a release that nobody sees are to the live ones; ``share`` in percent of the queries."""

    release: str
    share: float
    queries: int
    errors: int
    shed: int
    overlap: float | None
    rbo: float | None
    same_first: float | None


class Stats(BaseModel):
    """What there is; a part is null when its server does not answer, and ``errors`` says why.

    A collection that comes, goes or is not loaded cannot be counted: its number is null, and its reason is there too.
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
    errors: list[str]


class S3Notice(BaseModel):
    """What S3, MinIO and others send; each record has ``eventName``, ``s3.bucket.name`` and ``s3.object.key``."""

    Records: list[dict[str, object]]


class RefusedRecord(BaseModel):
    """A record that is no news of a picture of ours, by its place in the notice, and why."""

    record: int
    reason: str


class NoticeAnswer(BaseModel):
    """How many records are on the stream now, and which are not."""

    accepted: int
    refused: list[RefusedRecord]


class DeadLetter(BaseModel):
    """An event that was given up on, and why."""

    entry: str
    kind: str
    uri: str
    reason: str
    deliveries: int
    died_at: datetime


class Retry(BaseModel):
    """Which dead letters to retry; all of them where none is named."""

    entries: Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=1000)] = []


class Problem(BaseModel):
    """An error (RFC 9457); ``detail`` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str


class Health(BaseModel):
    """The process lives."""

    ok: Literal[True] = True
