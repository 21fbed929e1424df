"""REST route that deletes many images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from gateway.api.auditing import audited
from gateway.api.dependencies import GuardedRoute, IngestCaller, gateway_of
from gateway.api.problem_details import failures
from gateway.api.schemas import MAX_ID, Text
from gateway.bulk_deletion import Wanted
from visualsearch.domain.audit import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

router = APIRouter(route_class=GuardedRoute)
MOST = 1000
"""Images that one request deletes at most."""
Id = Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]


class DeletionRequest(BaseModel):
    """Which images to delete; all given conditions must hold. ``dry_run`` deletes nothing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prefix": "old/", "dry_run": True}]}, extra="forbid")

    image_ids: Annotated[list[Id] | None, Field(max_length=MOST)] = None
    prefix: Annotated[Text, Field(description="The beginning of the key in the object store.")] = ""
    source: Text = ""
    dry_run: StrictBool = False
    after: Annotated[int, Field(strict=True, ge=0, le=MAX_ID, description="Only images with a higher id.")] = 0
    limit: Annotated[int, Field(strict=True, ge=1, le=MOST, description="At most this many.")] = 200

    @property
    def wanted(self) -> Wanted:
        """The conditions."""
        ids = None if self.image_ids is None else frozenset(self.image_ids)
        return Wanted(image_ids=ids, prefix=self.prefix, source=self.source)


class DeletionResponse(BaseModel):
    """The ids of the images that were deleted, or would be. ``next`` is the value of `after` to go on with, if any."""

    image_ids: list[int]
    dry_run: bool
    next: int | None


@router.post("/deletions", summary="Delete many pictures", responses=failures(401, 403, 422, 429, 503))
async def delete_many(request: Request, caller: IngestCaller, asked: DeletionRequest) -> DeletionResponse:
    """Remove your own pictures, or any with the scope `admin`, from search, Postgres and the object store.

    Give ids, a prefix, a source, or several of them. One request deletes up to `limit`: while the answer has `next`,
    pass it on as `after`. Ids that are not there, or not yours, are left out of the answer.
    """
    gateway = gateway_of(request)
    page = await gateway.bulk_deletion.page(caller, asked.wanted, asked.after, asked.limit)
    ids = [image.id for image in page.images]
    if ids and not asked.dry_run:
        collections = [release.collection for release in await gateway.releases.written()]
        subject = f"{len(ids)} images {asked.wanted}: {ranges(ids)}"
        async with audited(request, caller, Action.DELETE_IMAGES, subject):
            ids = await gateway.bulk_deletion.delete(page, collections)
    return DeletionResponse(image_ids=ids, dry_run=asked.dry_run, next=page.next)


def ranges(numbers: Sequence[int]) -> str:
    """Write sorted numbers briefly: ``1-3, 7``."""
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in _runs(numbers))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for place, number in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            yield numbers[begin], number
            begin = place + 1
