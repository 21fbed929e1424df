"""REST routes of experiments: define, start and stop them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.auditing import audited
from gateway.api.dependencies import AdminCaller, GuardedRoute, gateway_of
from gateway.api.problem_details import failures
from visualsearch.domain import experiments
from visualsearch.domain.audit import Action
from visualsearch.domain.search import MAX_CANDIDATES

router = APIRouter(route_class=GuardedRoute)

Name = Annotated[str, Field(max_length=50)]
NameInPath = Annotated[str, Path(max_length=50)]


class VariantSchema(BaseModel):
    """The parameters that a variant changes for its users. A parameter that is not given keeps its default."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    name: Name
    weight: Annotated[
        int,
        Field(ge=1, le=1000, description="Share of the experiment's users, relative to the other variants' weights."),
    ] = 1
    release: Annotated[
        str | None, Field(max_length=200, description="The release that answers in place of the usual one.")
    ] = None
    search_params: Annotated[
        dict[Literal["nprobe", "ef"], Annotated[int, Field(ge=1, le=65_536)]],
        Field(description="Search parameters of the index."),
    ] = {}
    candidates: Annotated[
        int | None, Field(ge=10, le=MAX_CANDIDATES, description="Minimum number of candidates to score exactly.")
    ] = None
    keep_near_duplicates: Annotated[bool | None, Field(description="List near-duplicates instead of folding them.")] = (
        None
    )
    near_duplicate_distance: Annotated[
        int | None, Field(ge=0, le=64, description="Maximum distance in bits at which near-duplicates are folded.")
    ] = None
    min_side: Annotated[int | None, Field(ge=0, le=10_000, description="Minimum size of a result, in pixels.")] = None


class ExperimentRequest(BaseModel):
    """An experiment to define. The first variant is the control."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    layer: Annotated[Name, Field(description="A user takes part in at most one experiment of a layer.")] = "default"
    variants: Annotated[list[VariantSchema], Field(max_length=10)]
    share: Annotated[float, Field(gt=0, le=1, description="Share of the layer's users that take part.")] = 1.0
    expected_lift: Annotated[
        float, Field(gt=0, le=10, description="Relative change of the click-through rate to detect.")
    ] = 0.05


class ExperimentResponse(BaseModel):
    """An experiment and its state. It owns the buckets from ``first_bucket`` to before ``end_bucket`` of its layer."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    layer: str
    variants: list[VariantSchema]
    share: float
    expected_lift: float
    state: Literal["draft", "running", "stopped"]
    first_bucket: int
    end_bucket: int
    started_at: datetime | None
    stopped_at: datetime | None


@router.post(
    "/experiments", status_code=201, summary="Define an experiment", responses=failures(401, 403, 422, 429, 503)
)
async def create(request: Request, caller: AdminCaller, wanted: ExperimentRequest) -> ExperimentResponse:
    """Create a draft. It affects no search until it is started, and cannot be changed."""
    given = wanted.model_dump()
    variants = tuple(experiments.Variant(**variant) for variant in given.pop("variants"))
    draft = experiments.Experiment(variants=variants, **given)
    experiments.check(draft)
    experiment_repository = gateway_of(request).experiment_repository
    async with audited(request, caller, Action.CREATE_EXPERIMENT, draft.name):
        await experiment_repository.create(draft)
    return ExperimentResponse.model_validate(await experiment_repository.get(draft.name))


@router.get("/experiments", summary="List experiments, newest first", responses=failures(401, 403, 429, 503))
async def everything(request: Request, _caller: AdminCaller) -> list[ExperimentResponse]:
    """List draft, running and stopped experiments, newest first."""
    return [
        ExperimentResponse.model_validate(one) for one in await gateway_of(request).experiment_repository.everything()
    ]


@router.post(
    "/experiments/{name}/start", summary="Start an experiment", responses=failures(401, 403, 404, 422, 429, 503)
)
async def start(request: Request, caller: AdminCaller, name: NameInPath) -> ExperimentResponse:
    """Start a draft on free buckets of its layer. Every process of the gateway applies it within about a second."""
    async with audited(request, caller, Action.START_EXPERIMENT, name):
        return ExperimentResponse.model_validate(await gateway_of(request).experiments.start(name))


@router.post("/experiments/{name}/stop", summary="Stop an experiment", responses=failures(401, 403, 404, 422, 429, 503))
async def stop(request: Request, caller: AdminCaller, name: NameInPath) -> ExperimentResponse:
    """Stop an experiment for all users. The recorded interactions are kept."""
    async with audited(request, caller, Action.STOP_EXPERIMENT, name):
        return ExperimentResponse.model_validate(await gateway_of(request).experiments.stop(name))
