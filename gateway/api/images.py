"""REST routes of images: upload, status, content and deletion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from gateway.api import schemas
from gateway.api.auditing import audited
from gateway.api.conditional_requests import VARY, is_known
from gateway.api.dependencies import GuardedRoute, IngestCaller, SearchCaller, gateway_of
from gateway.api.forms import PICTURE_FORM, Picture, PlainForm, picture_bytes
from gateway.api.problem_details import failures
from gateway.api.root_path import public_address
from gateway.api.schemas import MAX_ID, ImageId, Text
from visualsearch.domain.audit import Action
from visualsearch.domain.images import Status, Visibility
from visualsearch.imaging.formats.table import MEDIA_TYPES

router = APIRouter(route_class=GuardedRoute)
MAX_WAIT_S = 30
SHOWN = failures(401, 403, 404, 422, 429, 503) | {
    200: {"content": {kind: {} for kind in MEDIA_TYPES}},
    304: {"description": "The picture is still the one whose ETag If-None-Match names."},
}
"""Responses of a picture's content."""
MAX_PAGE = 1000
Wait = Annotated[
    float, Query(ge=0, le=MAX_WAIT_S, description="Maximum time in seconds to wait while the image is pending.")
]


@router.post(
    "/images",
    status_code=202,
    summary="Index a picture",
    dependencies=[PlainForm],
    openapi_extra=PICTURE_FORM,
    responses=failures(401, 403, 413, 415, 422, 429, 503),
)
async def accept(
    request: Request,
    caller: IngestCaller,
    response: Response,
    image: Picture,
    source: Annotated[
        Text, Form(description="The picture's source. Operators can block results by source.")
    ] = "upload",
    visibility: Annotated[Visibility, Form(description="Only the owner can find a private picture.")] = (
        Visibility.PUBLIC
    ),
) -> schemas.Accepted:
    """Accept a picture for indexing. GET /images/{id} returns its status, and the reason if it is rejected."""
    accepted = await gateway_of(request).images.accept(await picture_bytes(image), source, caller.owner, visibility)
    response.headers["Location"] = public_address(request.app, f"/images/{accepted.id}")
    return schemas.Accepted(id=accepted.id, uri=accepted.uri, status="pending")


@router.get("/images", summary="List images", responses=failures(401, 403, 422, 429, 503))
async def page(
    request: Request,
    caller: SearchCaller,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="Only images with a higher id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most this many.")] = 100,
    status: Annotated[Status | None, Query(description="Only images with this status.")] = None,
    source: Annotated[Text, Query(description="Only images of this source.")] = "",
    prefix: Annotated[Text, Query(description="Only images whose key in the object store begins so.")] = "",
) -> schemas.ImageList:
    """List what the caller may see of the corpus, in the order of ids, page by page: pass `next` on as `after`."""
    images = gateway_of(request).images
    found = await images.page(caller, after, limit, status=status, source=source, prefix=prefix)
    return schemas.ImageList.model_validate(found)


@router.get(
    "/images/{image_id}", summary="Get a picture's metadata and status", responses=failures(401, 403, 404, 429, 503)
)
async def facts(request: Request, caller: SearchCaller, image_id: ImageId, wait_s: Wait = 0) -> schemas.ImageFacts:
    """Return an image's size and status: pending, indexed, or rejected with a reason.

    Once an image is indexed, the next search finds it. To search for your own upload, wait for it with `wait_s` first.
    """
    gateway = gateway_of(request)
    image = await gateway.images.wait_until_settled(image_id, caller, wait_s)
    return schemas.ImageFacts.model_validate(image)


@router.head("/images/{image_id}/content", summary="Check a picture", response_class=Response, responses=SHOWN)
@router.get("/images/{image_id}/content", summary="Download a picture", response_class=Response, responses=SHOWN)
async def content(
    request: Request,
    caller: SearchCaller,
    image_id: ImageId,
    size: Annotated[int | None, Query(ge=16, le=2048, description="Longer side of a thumbnail, in pixels.")] = None,
) -> Response:
    """Return the file as it was uploaded, or a thumbnail without the file's metadata.

    Send the ETag of an earlier answer as If-None-Match to get the picture only if it has changed since.
    """
    gateway = gateway_of(request)
    image = await gateway.images.get_shown(image_id, caller)
    tag = gateway.images.entity_tag(image, size)
    headers = {"Cache-Control": "private, max-age=300", "Vary": VARY} | ({"ETag": tag} if tag else {})
    if tag and is_known(tag, request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers=headers)
    data, kind = await gateway.images.content(image, size)
    if request.method == "HEAD":
        return Response(media_type=kind, headers=headers | {"Content-Length": str(len(data))})
    return Response(data, media_type=kind, headers=headers)


@router.delete(
    "/images/{image_id}",
    status_code=204,
    summary="Delete a picture from all stores",
    responses=failures(401, 403, 404, 429, 503),
)
async def delete(request: Request, caller: IngestCaller, image_id: ImageId) -> Response:
    """Remove a picture from search, Postgres and the object store."""
    gateway = gateway_of(request)
    collections = [release.collection for release in await gateway.releases.written()]
    async with audited(request, caller, Action.DELETE_IMAGE, f"image {image_id}"):
        await gateway.images.delete(image_id, caller, collections)
    return Response(status_code=204)
