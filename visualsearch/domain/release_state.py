"""States of releases and the history of their changes. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from visualsearch.domain.releases import Release, ReleaseState


class Action(StrEnum):
    """An action on a release."""

    BEGIN = "begin"
    READY = "ready"
    FAIL = "fail"
    EVALUATE = "evaluate"
    SHADOW = "shadow"
    CANARY = "canary"
    STEP = "step"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"


class Job(StrEnum):
    """Background job that an indexer is to run for a release."""

    NONE = ""
    BUILD = "build"
    """Requested; the release is not written to yet."""
    RESUME = "resume"
    """Started; an indexer that takes over resumes it."""
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate: the measured value, the limit, and whether it holds."""

    name: str
    value: float
    limit: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of the gate for a release, compared with the release that was live then."""

    at: datetime
    against: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether there are conditions and all of them hold."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class Canary:
    """Schedule of a canary: ``steps`` in percent of the traffic, each for ``step_s`` seconds.

    The canary is not judged before it has served ``min_requests`` requests.
    """

    steps: tuple[float, ...]
    step_s: float
    min_requests: int
    step: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Start of the current step."""

    @property
    def share(self) -> float:
        """Current percentage of the traffic."""
        return self.steps[self.step]


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release with its current state."""

    release: Release
    state: ReleaseState
    since: datetime
    canary: Canary | None = None
    shadow: float = 0.0
    """Percentage of the queries that also run on the release without being shown (shadow traffic)."""
    job: Job = Job.NONE
    evaluation: Evaluation | None = None
    note: str = ""
    """Reason of the last change of state."""


class Releases(tuple[ReleaseRecord, ...]):
    """Every release at one moment, newest first."""

    __slots__ = ()

    @property
    def live(self) -> ReleaseRecord | None:
        """The release that answers; at most one is live."""
        return next((one for one in self if one.state is ReleaseState.LIVE), None)

    @property
    def canary(self) -> ReleaseRecord | None:
        """The release that answers a part of the traffic; there is at most one."""
        return next((one for one in self if one.state is ReleaseState.CANARY and one.canary), None)

    @property
    def shadow(self) -> ReleaseRecord | None:
        """The release that receives shadow traffic; there is at most one."""
        return next((one for one in self if one.state is ReleaseState.READY and one.shadow), None)

    @property
    def answering(self) -> Releases:
        """Releases that can answer: complete and not retired."""
        return Releases(
            one for one in self if one.state in {ReleaseState.READY, ReleaseState.CANARY, ReleaseState.LIVE}
        )

    @property
    def kept(self) -> Releases:
        """All but the retired ones."""
        return Releases(one for one in self if one.state is not ReleaseState.RETIRED)

    @property
    def retired(self) -> Releases:
        """Releases whose collection and model are removed once no request uses them."""
        return Releases(one for one in self if one.state is ReleaseState.RETIRED)

    @property
    def asked(self) -> ReleaseRecord | None:
        """A release that a background job is requested for."""
        return next((one for one in self if one.job is not Job.NONE), None)

    def named(self, name: str) -> ReleaseRecord | None:
        """Return the release of a name."""
        return next((one for one in self if one.release.name == name), None)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a release: who made it, when, and why."""

    at: datetime
    release: str
    actor: str
    action: Action
    from_state: str
    to_state: str
    reason: str = ""
    replaced: str = ""
    """The release that was live before, if this change made another one live."""
    evaluation: Evaluation | None = None
