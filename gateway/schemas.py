"""The shapes of what comes in and goes out, as the REST contract has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_ID = 2**63 - 1
MAX_RANK = 2**31 - 1

ImageId = Annotated[int, Path(ge=-MAX_ID, le=MAX_ID, description="The image's id.")]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


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

    query_image_id: int
    results: list[Result]
    latency_ms: float
    timings_ms: Timings
    release: str


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

    user_id: Annotated[int, Field(ge=-MAX_ID, le=MAX_ID)]
    query_image_id: Annotated[int, Field(ge=-MAX_ID, le=MAX_ID)]
    displayed_image_id: Annotated[int, Field(ge=-MAX_ID, le=MAX_ID)]
    rank: Annotated[int, Field(ge=1, le=MAX_RANK)]


class Health(BaseModel):
    """The process lives."""

    ok: Literal[True] = True
