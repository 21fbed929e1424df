"""REST route that changes the source and the visibility of an image."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from gateway.api import schemas
from gateway.api.auditing import audited
from gateway.api.dependencies import GuardedRoute, IngestCaller, gateway_of
from gateway.api.problem_details import failures
from gateway.api.root_path import public_address
from gateway.api.schemas import ImageId, Text
from visualsearch.domain.audit import Action
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import ImageChange, Visibility

router = APIRouter(route_class=GuardedRoute)


class ChangeRequest(BaseModel):
    """What to change of an image. Omitted fields stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"visibility": "private"}]}, extra="forbid")

    source: Text | None = None
    visibility: Visibility | None = None

    def __str__(self) -> str:
        return ", ".join(f"{name} {value!s}" for name, value in self.model_dump(exclude_none=True).items())


@router.patch(
    "/images/{image_id}",
    status_code=202,
    summary="Change a picture's source or visibility",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def change(
    request: Request, caller: IngestCaller, response: Response, image_id: ImageId, wanted: ChangeRequest
) -> schemas.Accepted:
    """Change an image, and index it anew. Until that is done, its status is `pending`, and no search shows it."""
    if wanted == ChangeRequest():
        raise InvalidInput("Say what to change: give 'source' or 'visibility'.")
    async with audited(request, caller, Action.CHANGE_IMAGE, f"image {image_id}: {wanted}"):
        image = await gateway_of(request).image_changes.change(
            image_id, ImageChange(source=wanted.source, visibility=wanted.visibility), caller
        )
    response.headers["Location"] = public_address(request.app, f"/images/{image.id}")
    return schemas.Accepted(id=image.id, uri=image.uri, status="pending")
