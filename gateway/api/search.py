"""REST routes of searches, by an uploaded picture or by an image of the corpus."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Form, Query, Request, Response

from gateway.api import schemas
from gateway.api.dependencies import SearchCaller, SearchRoute, gateway_of
from gateway.api.forms import PICTURE_FORM, Picture, PlainForm, picture_bytes
from gateway.api.problem_details import failures
from gateway.api.schemas import MAX_ID, ImageId
from gateway.search.options import SearchOptions
from visualsearch.domain.search import (
    DEFAULT_K,
    MAX_K,
    MAX_SCORE,
    MIN_SCORE,
    Consistency,
    NearDuplicates,
    SearchAnswer,
)
from visualsearch.imaging.boxes import parse_box

router = APIRouter(route_class=SearchRoute)
CONSISTENCY = (
    "`bounded` sees every picture that GET /images/{id} calls indexed; `strong` waits until all that the indexers have "
    "written is seen too."
)
Count = Annotated[int, Form(ge=1, le=MAX_K, description="How many results.")]
CountInQuery = Annotated[int, Query(ge=1, le=MAX_K, description="How many results.")]
SCORE = "Leave out pictures with a lower score, also those that would be folded into a result."
Score = Annotated[float, Form(ge=MIN_SCORE, le=MAX_SCORE, description=SCORE)]
ScoreInQuery = Annotated[float, Query(ge=MIN_SCORE, le=MAX_SCORE, description=SCORE)]


def _search_answer(answer: SearchAnswer) -> Response:
    """Serialize an answer as ``schemas.SearchAnswer``, without its fifty models, which cost more than a network hop."""
    body = {
        "query_image_id": answer.query_image_id,
        "results": [
            {
                "id": hit.id,
                "score": hit.score,
                "uri": hit.uri,
                "rank": hit.rank,
                "width": hit.width,
                "height": hit.height,
                "near_duplicates": hit.near_duplicates,
            }
            for hit in answer.results
        ],
        "latency_ms": round(answer.latency_ms, 3),
        "timings_ms": {stage: round(ms, 3) for stage, ms in answer.timings_ms.items()},
        "release": answer.release,
    }
    if answer.suggested_min_score is not None:
        body["suggested_min_score"] = answer.suggested_min_score
    if answer.variants:
        body["experiments"] = dict(answer.variants)
    return Response(orjson.dumps(body), media_type="application/json")


@router.post(
    "/search",
    summary="Find the most similar pictures",
    response_model=schemas.SearchAnswer,
    dependencies=[PlainForm],
    openapi_extra=PICTURE_FORM,
    responses=failures(401, 403, 413, 415, 422, 429, 503),
)
async def search(
    request: Request,
    caller: SearchCaller,
    image: Picture,
    bbox: Annotated[str | None, Form(description="x1,y1,x2,y2 in pixels of the upright picture.")] = None,
    k: Count = DEFAULT_K,
    user_id: Annotated[
        int | None, Form(ge=-MAX_ID, le=MAX_ID, description="The id of the user, for evaluation.")
    ] = None,
    near_duplicates: Annotated[
        NearDuplicates, Form(description="Whether to fold near-duplicates or list them.")
    ] = NearDuplicates.COLLAPSE,
    consistency: Annotated[Consistency, Form(description=CONSISTENCY)] = Consistency.BOUNDED,
    min_score: Score = MIN_SCORE,
) -> Response:
    """Search with a picture, or with a box inside it."""
    gateway = gateway_of(request)
    box = parse_box(bbox) if bbox is not None else None
    data = await picture_bytes(image)
    options = SearchOptions(
        k,
        near_duplicates,
        gateway.filter_for(caller),
        user_id=user_id,
        consistency=consistency,
        min_score=min_score,
    )
    answer = await gateway.search.by_picture(data, box, options)
    gateway.after_search(answer, user_id, box, data, caller.owner)
    return _search_answer(answer)


@router.get(
    "/images/{image_id}/similar",
    summary="Find pictures similar to an indexed picture",
    response_model=schemas.SearchAnswer,
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def similar(
    request: Request,
    caller: SearchCaller,
    image_id: ImageId,
    k: CountInQuery = DEFAULT_K,
    user_id: Annotated[int | None, Query(ge=-MAX_ID, le=MAX_ID)] = None,
    near_duplicates: NearDuplicates = NearDuplicates.COLLAPSE,
    consistency: Annotated[Consistency, Query(description=CONSISTENCY)] = Consistency.BOUNDED,
    min_score: ScoreInQuery = MIN_SCORE,
) -> Response:
    """Search with an indexed image. The results do not include the image itself."""
    gateway = gateway_of(request)
    image = await gateway.images.get_shown(image_id, caller)
    options = SearchOptions(
        k,
        near_duplicates,
        gateway.filter_for(caller),
        image_id,
        user_id=user_id,
        consistency=consistency,
        min_score=min_score,
    )
    answer = await gateway.search.by_image(image, options)
    gateway.after_search(answer, user_id, None, None)
    return _search_answer(answer)
