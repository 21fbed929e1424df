"""REST route that explains a result, as numbers or as a picture."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.conditional_requests import VARY
from gateway.api.dependencies import GuardedRoute, SearchCaller, gateway_of
from gateway.api.problem_details import failures
from gateway.api.schemas import MAX_ID

if TYPE_CHECKING:
    from gateway.explanation.explainer import ExplainedPicture
    from gateway.explanation.similarity_heatmap import SimilarityHeatmap

router = APIRouter(route_class=GuardedRoute)

Id = Annotated[int, Query(ge=-MAX_ID, le=MAX_ID)]


class Format(StrEnum):
    """Format of an explanation: numbers (``json``) or a picture (``png``)."""

    JSON = "json"
    PNG = "png"


class Regions(BaseModel):
    """Heat of one picture. ``heat`` holds rows of equal cells over ``box``, from 0 (none) to 1 (most similar)."""

    width: int
    height: int
    box: Annotated[list[int], Field(description="x1,y1,x2,y2 in pixels of the upright picture.")]
    heat: list[list[float]]


class ExplanationResponse(BaseModel):
    """Which regions of query and image are similar."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query_image_id": 999,
                    "image_id": 42,
                    "release": "v1_ivf_pq",
                    "query": {"width": 640, "height": 480, "box": [0, 0, 640, 480], "heat": [[0.0, 1.0], [0.2, 0.0]]},
                    "image": {"width": 320, "height": 240, "box": [0, 0, 320, 240], "heat": [[0.9, 0.0], [0.0, 0.1]]},
                }
            ]
        }
    )

    query_image_id: int
    image_id: int
    release: str
    query: Regions
    image: Regions


@router.get(
    "/explain",
    summary="Explain a result by the regions in which both pictures agree",
    response_model=ExplanationResponse,
    responses=failures(401, 403, 404, 422, 429, 501, 503) | {200: {"content": {"image/png": {}}}},
)
async def explain(
    request: Request,
    caller: SearchCaller,
    query_image_id: Annotated[Id, Query(description="The id of a search whose query picture is kept, or of an image.")],
    image_id: Annotated[Id, Query(description="The id of the result.")],
    as_what: Annotated[
        Format | None, Query(alias="format", description="Defaults to the format in the Accept header, then to JSON.")
    ] = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Return a similarity heatmap of both pictures: as numbers, or drawn side by side as a PNG file."""
    gateway = gateway_of(request)
    found = await gateway.explainer.explain(query_image_id, image_id, caller)
    wanted = as_what or (Format.PNG if "image/png" in accept and "json" not in accept else Format.JSON)
    vary = f"Accept, {VARY}"
    if wanted is Format.PNG:
        headers = {"Cache-Control": "private, max-age=300", "Vary": vary}
        return Response(await gateway.explainer.draw(found), media_type="image/png", headers=headers)
    pictures = (found.query, found.image)
    query, image = (_regions(*one) for one in zip(pictures, found.heats, strict=True))
    response = ExplanationResponse(
        query_image_id=query_image_id, image_id=image_id, release=found.release, query=query, image=image
    )
    return JSONResponse(response.model_dump(), headers={"Vary": vary})


def _regions(asked: ExplainedPicture, heat: SimilarityHeatmap) -> Regions:
    width, height = asked.size
    box = [heat.box.x1, heat.box.y1, heat.box.x2, heat.box.y2]
    return Regions(
        width=width, height=height, box=box, heat=[[round(cell, 4) for cell in row] for row in heat.cells.tolist()]
    )
