"""Where releases stand, and what was done to them. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from visualsearch.domain.releases import Release, ReleaseState


class Action(StrEnum):
    """What was done to a release."""

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
    """What an indexer is asked to do with a release, in the background."""

    NONE = ""
    BUILD = "build"
    """Asked for; nobody writes to it yet."""
    RESUME = "resume"
    """Begun; an indexer that takes over goes on with it."""
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate: what was measured, what it must be, and whether it is."""

    name: str
    value: float
    limit: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the gate found out about a release, held against the one that was live then."""

    at: datetime
    against: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class Canary:
    """How a canary is ramped: ``steps`` in percent of the traffic, each for ``step_s`` seconds.

    Nothing is judged before ``min_requests`` of its requests have been seen.
    """

    steps: tuple[float, ...]
    step_s: float
    min_requests: int
    step: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the present step began."""

    @property
    def share(self) -> float:
        """Percent of the traffic now."""
        return self.steps[self.step]


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """Where a release stands."""

    release: Release
    state: ReleaseState
    since: datetime
    canary: Canary | None = None
    shadow: float = 0.0
    """Percent of the queries that also run on it, out of everybody's sight."""
    job: Job = Job.NONE
    evaluation: Evaluation | None = None
    note: str = ""
    """Why it stands there: the reason of what was done to it last."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What somebody did to a release, and why."""

    at: datetime
    release: str
    actor: str
    action: Action
    from_state: str
    to_state: str
    reason: str = ""
    replaced: str = ""
    """The release that was live before, where this one became live."""
    evaluation: Evaluation | None = None
