"""REST routes of duplicate exclusions: pairs of images that people marked as not duplicates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.auditing import audited
from gateway.api.dependencies import GuardedRoute, IngestCaller, gateway_of
from gateway.api.problem_details import failures
from gateway.api.schemas import MAX_ID
from gateway.caller import Caller
from visualsearch.domain.audit import Action
from visualsearch.domain.errors import Forbidden, InvalidInput, NotFound

router = APIRouter(route_class=GuardedRoute)


class Pair(BaseModel):
    """Two different images, in any order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image_ids": [42, 57]}]})

    image_ids: Annotated[
        list[Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]], Field(min_length=2, max_length=2)
    ]


async def _pair(request: Request, caller: Caller, pair: Pair) -> tuple[int, int]:
    """Return both ids.

    Raises ``InvalidInput`` if they are equal, ``NotFound`` if the caller may not see an image, and ``Forbidden`` unless
    it may change both.
    """
    one, other = pair.image_ids
    if one == other:
        raise InvalidInput(f"image_ids names image {one} twice: name two different images.")
    gateway = gateway_of(request)
    for image in [await gateway.images.get(image_id, caller) for image_id in (one, other)]:
        if not caller.may_change(image):
            raise Forbidden(f"Image {image.id} is not yours: only an administrator may mark pairs of others' images.")
    return one, other


@router.post(
    "/not-duplicates",
    status_code=204,
    summary="Mark two images as not duplicates",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def mark(request: Request, caller: IngestCaller, pair: Annotated[Pair, Body()]) -> Response:
    """Never fold these two images into each other. Takes effect with the next search; repeating it changes nothing."""
    one, other = await _pair(request, caller, pair)
    async with audited(request, caller, Action.MARK_NOT_DUPLICATES, f"images {one} and {other}"):
        await gateway_of(request).duplicate_exclusions.mark_not_duplicates(one, other, caller.owner)
    return Response(status_code=204)


@router.delete(
    "/not-duplicates",
    status_code=204,
    summary="Remove the mark that two images are not duplicates",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def unmark(request: Request, caller: IngestCaller, pair: Annotated[Pair, Body()]) -> Response:
    """Remove the mark, so that the two images can be folded again."""
    one, other = await _pair(request, caller, pair)
    async with audited(request, caller, Action.UNMARK_NOT_DUPLICATES, f"images {one} and {other}"):
        if not await gateway_of(request).duplicate_exclusions.unmark_not_duplicates(one, other):
            raise NotFound(f"Images {one} and {other} are not marked as no duplicates: there is nothing to take back.")
    return Response(status_code=204)
