"""REST routes of releases, for the scope admin. ``visualsearch.releases.lifecycle`` holds the rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dependencies import AdminCaller, GuardedRoute, gateway_of
from gateway.api.problem_details import failures
from gateway.api.release_schemas import Release, ScoreCalibration
from gateway.caller import Caller
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.release_state import Canary, Job, ReleaseRecord
from visualsearch.releases.active_releases import wanted
from visualsearch.releases.lifecycle import Lifecycle

router = APIRouter(prefix="/releases", tags=["releases"], route_class=GuardedRoute)
REFUSALS = failures(401, 403, 404, 409, 422, 429, 503)
Name = Annotated[str, Path(max_length=200, description="The release's name.")]
Reason = Annotated[str, Field(max_length=2000, description="The reason, recorded in the history.")]


class CheckSchema(BaseModel):
    """One condition of the gate: the measured value, the limit, and whether it holds."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    value: float
    limit: str
    passed: bool
    detail: str


class EvaluationSchema(BaseModel):
    """Result of the gate for a release, compared with the release that was live then."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    against: str
    passed: bool
    checks: list[CheckSchema]


class CanarySchema(BaseModel):
    """How a canary is ramped: percent of the searches by step, each step for ``step_s`` seconds."""

    model_config = ConfigDict(from_attributes=True)

    steps: list[float]
    step_s: float
    min_requests: int
    step: int
    since: datetime
    share: float


class ReleaseResponse(Release):
    """State of a release, and the reason for it; ``shadow`` is in percent of the queries."""

    state: str
    since: datetime
    note: str
    job: str
    shadow: float
    canary: CanarySchema | None
    evaluation: EvaluationSchema | None


class HistoryEntry(BaseModel):
    """A change of a release: when, by whom and why."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    release: str
    actor: str
    action: str
    from_state: str
    to_state: str
    reason: str
    replaced: str
    evaluation: EvaluationSchema | None


class BuildRequest(BaseModel):
    """A release to build. Omitted fields default to those of the live release; the name is derived from the others."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    profile: Annotated[str | None, Field(max_length=100)] = None
    name: Annotated[str | None, Field(max_length=100)] = None


class ReasonRequest(BaseModel):
    """The reason for a change of a release."""

    reason: Reason = ""


class PromotionRequest(ReasonRequest):
    """A promotion. ``force`` overrides the gate and requires a reason."""

    force: bool = False


class CanaryRequest(PromotionRequest):
    """How to ramp a canary: percent of the searches by step, each for ``step_s`` seconds and ``min_requests``."""

    steps: Annotated[list[float], Field(min_length=1, max_length=20)] = [1.0, 2.0, 5.0]
    step_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 600.0
    min_requests: Annotated[int, Field(ge=1, le=10**9)] = 200


class ShadowRequest(BaseModel):
    """Percent of the queries that also run on the release; 0 ends the shadow traffic."""

    share: Annotated[float, Field(ge=0, le=100)]


def release_response(one: ReleaseRecord) -> ReleaseResponse:
    """Convert a release record to its REST schema."""
    release = one.release
    return ReleaseResponse(
        name=release.name,
        model_version=release.model_version,
        fingerprint=release.fingerprint,
        collection=release.collection,
        profile=release.profile,
        search_params=dict(release.search_params),
        calibration=ScoreCalibration.model_validate(release.calibration) if release.calibration else None,
        state=one.state,
        since=one.since,
        note=one.note,
        job=one.job,
        shadow=one.shadow,
        canary=CanarySchema.model_validate(one.canary) if one.canary else None,
        evaluation=EvaluationSchema.model_validate(one.evaluation) if one.evaluation else None,
    )


def _lifecycle(request: Request, caller: Caller) -> Lifecycle:
    return Lifecycle(gateway_of(request).release_repository, caller.owner or "api")


async def _find_release(request: Request, name: str) -> ReleaseResponse:
    if one := (await gateway_of(request).release_repository.records()).named(name):
        return release_response(one)
    raise NotFound(f"There is no release {name!r}; GET /releases lists all releases.")


def _forced(force: bool, reason: str) -> str:
    if force and not reason.strip():
        raise InvalidInput("'force' needs a 'reason': the history records why the gate was overridden.")
    return f"forced: {reason}" if force else ""


@router.get("", summary="List releases and their state", responses=failures(401, 403, 429, 503))
async def releases(request: Request, _caller: AdminCaller) -> list[ReleaseResponse]:
    """List releases, newest first."""
    return [release_response(one) for one in await gateway_of(request).release_repository.records()]


@router.get("/history", summary="List changes of releases", responses=failures(401, 403, 422, 429, 503))
async def history(
    request: Request,
    _caller: AdminCaller,
    release: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[HistoryEntry]:
    """List the changes of releases with time, actor and reason, newest first."""
    found = await gateway_of(request).release_repository.history(release, limit)
    return [HistoryEntry.model_validate(one) for one in found]


@router.post("", status_code=202, summary="Build a release", responses=REFUSALS)
async def build(request: Request, caller: AdminCaller, build_request: BuildRequest) -> ReleaseResponse:
    """Request that an indexer builds and evaluates a release beside the live one. /stats returns the progress."""
    gateway = gateway_of(request)
    release = await wanted(
        gateway.release_repository,
        gateway.encoder,
        gateway.vectors,
        build_request.model_version,
        build_request.profile,
        build_request.name,
    )
    await _lifecycle(request, caller).begin(release, Job.BUILD)
    return await _find_release(request, release.name)


@router.post("/rollback", summary="End the canary or roll back to the previous release", responses=REFUSALS)
async def rollback(request: Request, caller: AdminCaller, why: ReasonRequest) -> dict[str, Any]:
    """End the canary; without one, make the predecessor of the live release live again. Returns the live release."""
    live = await _lifecycle(request, caller).roll_back(why.reason)
    return {"live": live.release.name}


@router.get("/{name}", summary="Get the state of one release", responses=REFUSALS)
async def release(request: Request, _caller: AdminCaller, name: Name) -> ReleaseResponse:
    """Return a release's state, the reason for it, and the result of the gate."""
    return await _find_release(request, name)


@router.post("/{name}/evaluate", status_code=202, summary="Evaluate a release", responses=REFUSALS)
async def evaluate(request: Request, caller: AdminCaller, name: Name) -> ReleaseResponse:
    """Request that an indexer evaluates a release. GET /releases/{name} returns the result once ``job`` is empty."""
    await _lifecycle(request, caller).ask(name, Job.EVALUATE)
    return await _find_release(request, name)


@router.post("/{name}/canary", summary="Start a canary", responses=REFUSALS)
async def canary(request: Request, caller: AdminCaller, name: Name, how: CanaryRequest) -> ReleaseResponse:
    """Answer a small share of the users with a release. It is rolled back if it does worse than the live one."""
    force = _forced(how.force, how.reason)
    ramp = Canary(tuple(how.steps), how.step_s, how.min_requests)
    await _lifecycle(request, caller).canary(name, ramp, force=force)
    return await _find_release(request, name)


@router.post("/{name}/shadow", summary="Run shadow searches on a release", responses=REFUSALS)
async def shadow(request: Request, caller: AdminCaller, name: Name, shadow_request: ShadowRequest) -> ReleaseResponse:
    """Repeat a share of the queries on a release after the answer. /stats compares its answers with the live ones."""
    await _lifecycle(request, caller).shadow(name, shadow_request.share)
    return await _find_release(request, name)


@router.post("/{name}/promote", summary="Make a release live", responses=REFUSALS)
async def promote(request: Request, caller: AdminCaller, name: Name, how: PromotionRequest) -> ReleaseResponse:
    """Make a release live in one step. The previous one stays ready for a rollback."""
    force = _forced(how.force, how.reason)
    await _lifecycle(request, caller).promote(name, reason="" if force else how.reason, force=force)
    return await _find_release(request, name)


@router.post("/{name}/retire", status_code=202, summary="Retire a release", responses=REFUSALS)
async def retire(request: Request, caller: AdminCaller, name: Name, why: ReasonRequest) -> ReleaseResponse:
    """Retire a release. An indexer drops its collection and unloads its model once no request can use them."""
    await _lifecycle(request, caller).retire(name, why.reason)
    return await _find_release(request, name)
