"""The REST interface: parses, asks, answers. What a search is stands in search.py."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api import schemas
from gateway.api.dependencies import Reader, Writer, gateway_of
from gateway.api.metrics_endpoint import scrape
from gateway.api.problem_details import Problem, failures
from gateway.api.schemas import MAX_ID, ImageId, Text
from gateway.search.options import SearchOptions
from visualsearch.domain.errors import BrokenImage, ImageTooLarge, InvalidInput
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Visibility
from visualsearch.domain.interactions import Click
from visualsearch.domain.search import DEFAULT_K, MAX_K, Consistency, NearDuplicates, SearchAnswer
from visualsearch.imaging.preprocessing import parse_box
from visualsearch.observability.metrics import CLICKS

router = APIRouter()
WEB = FilePath(__file__).parents[1] / "web"
PAGE_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"
"""The page needs nothing from elsewhere; the cropping library sets styles on its elements."""
MAX_WAIT_S = 30
NEVER_EMPTY = ("bbox", "k", "near_duplicates", "consistency", "user_id")
"""Form fields that are left out for their default; empty, they are a mistake of the program that sends them."""

CONSISTENCY = (
    "`bounded` sees every picture that GET /images/{id} calls indexed; `strong` waits until all that the indexers have "
    "written is seen too."
)
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait for so many seconds at most while it is pending.")]

Picture = Annotated[UploadFile, File(description="JPEG, PNG or WebP, up to 20 MB and 50 megapixels.")]
Count = Annotated[int, Form(ge=1, le=MAX_K, description="How many results.")]
CountInQuery = Annotated[int, Query(ge=1, le=MAX_K, description="How many results.")]


async def plain_form(request: Request) -> None:
    """Refuse a form that gives a field twice, or empty where that means nothing."""
    form = await request.form()
    for name in form:
        values = form.getlist(name)
        if len(values) > 1:
            raise InvalidInput(f"The form has {len(values)} fields named '{name[:40]}': send one.")
        if name in NEVER_EMPTY and values == [""]:
            raise InvalidInput(f"The field '{name}' is empty: give it a value, or leave it out.")


PlainForm = Depends(plain_form)


async def _bytes(image: UploadFile) -> bytes:
    data = await image.read()
    if not data:
        raise BrokenImage("The picture is empty. Send the bytes of a JPEG, PNG or WebP file as 'image'.")
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The picture has {len(data)} bytes; {MAX_UPLOAD_BYTES} (20 MB) are the limit.")
    return data


def _search_answer(answer: SearchAnswer) -> Response:
    """Write the answer as schemas.SearchAnswer has it, without building its fifty models: they cost more than a hop."""
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
    if answer.variants:
        body["experiments"] = dict(answer.variants)
    return Response(orjson.dumps(body), media_type="application/json")


@router.post(
    "/search",
    summary="Find the most similar pictures",
    response_model=schemas.SearchAnswer,
    dependencies=[PlainForm],
    responses=failures(401, 403, 413, 415, 422, 429, 503),
)
async def search(
    request: Request,
    caller: Reader,
    image: Picture,
    bbox: Annotated[str | None, Form(description="x1,y1,x2,y2 in pixels of the upright picture.")] = None,
    k: Count = DEFAULT_K,
    user_id: Annotated[int | None, Form(ge=-MAX_ID, le=MAX_ID, description="Who asks, for evaluation.")] = None,
    near_duplicates: Annotated[NearDuplicates, Form(description="Fold or list them.")] = NearDuplicates.COLLAPSE,
    consistency: Annotated[Consistency, Form(description=CONSISTENCY)] = Consistency.BOUNDED,
) -> Response:
    """Search with a picture, or with what is inside a box of it."""
    gateway = gateway_of(request)
    box = parse_box(bbox) if bbox is not None else None
    data = await _bytes(image)
    options = SearchOptions(k, near_duplicates, gateway.filter_for(caller), user_id=user_id, consistency=consistency)
    answer = await gateway.search.by_picture(data, box, options)
    gateway.after_search(answer, user_id, box, data, caller.owner)
    return _search_answer(answer)


@router.get(
    "/images/{image_id}/similar",
    summary="Find pictures similar to one of the corpus",
    response_model=schemas.SearchAnswer,
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def similar(
    request: Request,
    caller: Reader,
    image_id: ImageId,
    k: CountInQuery = DEFAULT_K,
    user_id: Annotated[int | None, Query(ge=-MAX_ID, le=MAX_ID)] = None,
    near_duplicates: NearDuplicates = NearDuplicates.COLLAPSE,
    consistency: Annotated[Consistency, Query(description=CONSISTENCY)] = Consistency.BOUNDED,
) -> Response:
    """Search with a picture that is indexed already; it is itself left out."""
    gateway = gateway_of(request)
    image = await gateway.corpus.get(image_id, caller)
    options = SearchOptions(
        k, near_duplicates, gateway.filter_for(caller), image_id, user_id=user_id, consistency=consistency
    )
    answer = await gateway.search.by_image(image, options)
    gateway.after_search(answer, user_id, None, None)
    return _search_answer(answer)


@router.post(
    "/images",
    status_code=202,
    summary="Index a picture",
    dependencies=[PlainForm],
    responses=failures(401, 403, 413, 415, 422, 429, 503),
)
async def accept(
    request: Request,
    caller: Writer,
    response: Response,
    image: Picture,
    source: Annotated[Text, Form(description="Where it comes from; results can be blocked by it.")] = "upload",
    visibility: Annotated[Visibility, Form(description="Private pictures are found by their owner alone.")] = (
        Visibility.PUBLIC
    ),
) -> schemas.Accepted:
    """Accept a picture; it becomes searchable, or is rejected with a reason that GET /images/{id} tells."""
    accepted = await gateway_of(request).corpus.accept(await _bytes(image), source, caller.owner, visibility)
    response.headers["Location"] = f"/images/{accepted.id}"
    return schemas.Accepted(id=accepted.id, uri=accepted.uri, status="pending")


@router.get("/images/{image_id}", summary="What is known of a picture", responses=failures(401, 403, 404, 429, 503))
async def facts(request: Request, caller: Reader, image_id: ImageId, wait_s: Wait = 0) -> schemas.ImageFacts:
    """Tell an image's size and where it stands: pending, indexed, or rejected with a reason.

    Once it is indexed, the very next search finds it: to read your own upload, ask with `wait_s` and then search.
    """
    gateway = gateway_of(request)
    image = await gateway.corpus.wait_until_settled(image_id, caller, wait_s)
    return schemas.ImageFacts.model_validate(image)


@router.get(
    "/images/{image_id}/content",
    summary="The picture itself",
    response_class=Response,
    responses=failures(401, 403, 404, 422, 429, 503)
    | {200: {"content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}}}},
)
async def content(
    request: Request,
    caller: Reader,
    image_id: ImageId,
    size: Annotated[int | None, Query(ge=16, le=2048, description="Longer side of a thumbnail, in pixels.")] = None,
) -> Response:
    """Give the file as it was uploaded, or a thumbnail without its metadata."""
    gateway = gateway_of(request)
    image = await gateway.corpus.get(image_id, caller)
    data, kind = await gateway.corpus.content(image, size)
    headers = {"Cache-Control": "private, max-age=300", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=kind, headers=headers)


@router.delete(
    "/images/{image_id}",
    status_code=204,
    summary="Delete a picture everywhere",
    responses=failures(401, 403, 404, 429, 503),
)
async def delete(request: Request, caller: Writer, image_id: ImageId) -> Response:
    """Remove a picture from search, metadata and object store."""
    gateway = gateway_of(request)
    collections = [release.collection for release in await gateway.releases.written()]
    await gateway.corpus.delete(image_id, caller, collections)
    return Response(status_code=204)


@router.post(
    "/click",
    status_code=204,
    summary="Tell that a result was clicked",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def click(request: Request, caller: Reader, click: schemas.Click) -> Response:
    """Take down a click on a result: it is spooled when the answer comes, and written within about a second.

    While the catalog is away a click is accepted unchecked, and dropped later if nobody was ever shown that.
    """
    gateway = gateway_of(request)
    checked = await gateway.is_real(click.query_image_id, click.displayed_image_id, caller)
    user = gateway.pseudonym(click.user_id)
    told = Click(click.query_image_id, click.displayed_image_id, click.rank, user, checked)
    await gateway.interaction_recorder.clicked(told)
    CLICKS.inc()
    return Response(status_code=204)


@router.get("/health", summary="The process lives")
async def health() -> schemas.Health:
    """Answer without asking any server."""
    return schemas.Health()


@router.get(
    "/ready",
    summary="Every server behind the gateway works",
    response_model=schemas.Health,
    responses=failures(503),
)
async def ready(request: Request) -> Response:
    """Run a tiny inference, a query, a statement, a stream write and an object put."""
    trouble = await gateway_of(request).not_ready()
    if trouble:
        detail = "Not ready: " + "; ".join(f"{name}: {what}" for name, what in trouble.items())
        return Problem(503, detail, not_ready=sorted(trouble))
    return JSONResponse({"ok": True})


@router.get(
    "/stats",
    summary="How much there is, and how far indexing is behind",
    response_model=schemas.Stats,
    responses=failures(401, 403, 429),
)
async def stats(request: Request, _caller: Reader) -> dict[str, Any]:
    """Count images by status, the stream's lag, rows per collection; name the live release.

    What cannot be counted now is null, and ``errors`` says why.
    """
    return await gateway_of(request).stats()


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Expose metrics to Prometheus."""
    return Response(await scrape(gateway_of(request)), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Give the page."""
    return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})
