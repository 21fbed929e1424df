"""The lifecycle of a release: building -> ready -> canary -> live -> retired.

A release that was replaced becomes ready again. It is still written to, so that it can answer at once after a rollback.
Standard library only. Every decision is made under the lock of the release repository.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Conflict, InvalidInput, NotFound
from visualsearch.domain.release_state import Action, Job, ReleaseRecord, Releases, Transition
from visualsearch.domain.releases import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.release_state import Canary, Evaluation
    from visualsearch.domain.releases import Release
    from visualsearch.ports import ReleaseRepository, ReleaseTransaction

VALID_FOR = timedelta(hours=24)
"""How long an evaluation is valid: indexes grow, and machines change."""
MAX_CANARY = 50.0
"""Largest share of a canary in percent of the traffic; above it, most users would see the canary."""


class Lifecycle:
    """Moves releases between states, one move at a time. Every move is recorded with its actor and reason.

    Each method raises ``NotFound`` for an unknown release, and ``Conflict`` if the move is not possible now.
    """

    def __init__(self, log: ReleaseRepository, actor: str) -> None:
        self._log = log
        self._actor = actor

    async def begin(self, release: Release, job: Job = Job.NONE) -> None:
        """Record a release as building; no-op if the same build was started before."""
        async with self._log.switching() as book:
            known = {one.release.name: one for one in await book.records()}
            old = known.get(release.name)
            if old is None:
                new = ReleaseRecord(release, ReleaseState.BUILDING, datetime.now(UTC), job=job)
                await self._move(book, None, new, Action.BEGIN, "")
                return
            if old.state != ReleaseState.BUILDING:
                raise Conflict(f"Release {release.name} is {old.state} already; choose another name.")
            if old.release != release:
                raise Conflict(f"Release {release.name} was started as {old.release}, which differs from this request.")
            if job is not old.job:
                await book.put(replace(old, job=job))

    async def ready(self, name: str) -> None:
        """Mark a release as ready: its collection is complete."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "become ready", ReleaseState.BUILDING)
            job = Job.EVALUATE if old.job is Job.RESUME else Job.NONE
            await self._move(book, old, replace(old, state=ReleaseState.READY, job=job), Action.READY, "")

    async def failed(self, release: Release, reason: str, *, again: bool = False) -> None:
        """Record why a job of a release failed; ``again`` keeps the job, so that it is retried.

        The release keeps its state, so the job can be resumed. A build that was only requested and cannot start is
        retired.
        """
        async with self._log.switching() as book:
            old = (await book.records()).named(release.name)
            if old is None:  # the build could not start; only the history records it
                now = datetime.now(UTC)
                await book.record(Transition(now, release.name, self._actor, Action.FAIL, "", "", reason))
                return
            if again and old.note == reason:
                return
            state = ReleaseState.RETIRED if old.job is Job.BUILD and not again else old.state
            job = old.job if again else Job.NONE
            await self._move(book, old, replace(old, state=state, job=job), Action.FAIL, reason)

    async def ask(self, name: str, job: Job) -> None:
        """Request a background job for a release."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, f"be given to an indexer to {job}", ReleaseState.READY, ReleaseState.CANARY, ReleaseState.LIVE)
            await book.put(replace(old, job=job))

    async def evaluated(self, name: str, evaluation: Evaluation) -> None:
        """Record the result of the gate."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            reason = "passed" if evaluation.passed else f"failed: {_failures(evaluation)}"
            new = replace(old, evaluation=evaluation, job=Job.NONE)
            await self._move(book, old, new, Action.EVALUATE, reason)

    async def shadow(self, name: str, share: float) -> None:
        """Send a percentage of the queries to a release as shadow traffic; 0 ends it."""
        if not 0 <= share <= 100:
            raise InvalidInput(f"A shadow's share is 0 to 100 percent, and is {share:g}.")
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "run as a shadow", ReleaseState.READY)
            other = (await book.records()).shadow
            if other and other.release.name != name and share:
                raise Conflict(f"Release {other.release.name} runs as a shadow; end that first (share 0).")
            await self._move(book, old, replace(old, shadow=share), Action.SHADOW, f"{share:g}% of the queries")

    async def canary(self, name: str, canary: Canary, *, force: str = "") -> None:
        """Make a release the canary for part of the traffic. ``force`` is the reason to override the gate."""
        steps = canary.steps
        if not steps or list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= MAX_CANARY:
            raise InvalidInput(f"A canary's steps must rise, above 0 and up to {MAX_CANARY:g} percent: such as 1,2,5.")
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "become a canary", ReleaseState.READY, ReleaseState.CANARY)
            records = await book.records()
            if (other := records.canary) and other.release.name != name:
                raise Conflict(f"Release {other.release.name} is the canary; promote it or roll it back first.")
            _gate(old, records, force)
            new = replace(old, state=ReleaseState.CANARY, canary=canary, shadow=0.0)
            await self._move(book, old, new, Action.CANARY, _reason(f"{canary.share:g}% of the traffic", force))

    async def step(self, name: str, step: int) -> None:
        """Advance a canary to a step; no-op if it is not at the step before."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            if old.state != ReleaseState.CANARY or not old.canary or old.canary.step != step - 1:
                return
            canary = replace(old.canary, step=step, since=datetime.now(UTC))
            await self._move(book, old, replace(old, canary=canary), Action.STEP, f"{canary.share:g}% of the traffic")

    async def promote(self, name: str, *, reason: str = "", force: str = "") -> ReleaseRecord:
        """Make a release live, and the live one ready, in one transaction; return the new record.

        ``force`` is the reason to override the gate.
        """
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "be promoted", ReleaseState.READY, ReleaseState.CANARY)
            records = await book.records()
            _gate(old, records, force)
            return await self._switch(book, records, old, Action.PROMOTE, _reason(reason, force))

    async def roll_back(self, reason: str, *, canary: str | None = None) -> ReleaseRecord:
        """End the canary; without one, make the predecessor of the live release live again.

        Returns the record of the release that answers afterwards. If ``canary`` is given, only a canary of that name is
        rolled back.
        """
        async with self._log.switching() as book:
            records = await book.records()
            live, running = records.live, records.canary
            if canary is not None and (running is None or running.release.name != canary):
                raise Conflict(f"Release {canary} is no longer a canary.")
            if live is None:
                raise Conflict("No release is live; run `visualsearch init`.")
            if running is not None:
                new = replace(running, state=ReleaseState.READY, canary=None)
                await self._move(book, running, new, Action.ROLLBACK, reason)
                return live
            before = predecessor(await book.switches(), records)
            if before is None:
                raise Conflict(
                    f"No release that {live.release.name} replaced is there any more: nothing to go back to."
                )
            return await self._switch(book, records, before, Action.ROLLBACK, reason)

    async def retire(self, name: str, reason: str = "") -> None:
        """Retire a release; its collection and model are removed once no request can use them."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "be retired", ReleaseState.READY, ReleaseState.BUILDING)
            new = replace(old, state=ReleaseState.RETIRED, shadow=0.0, job=Job.NONE)
            await self._move(book, old, new, Action.RETIRE, reason)

    async def _switch(
        self,
        book: ReleaseTransaction,
        records: Releases,
        new: ReleaseRecord,
        action: Action,
        reason: str,
    ) -> ReleaseRecord:
        """Make ``new`` live in place of the live release."""
        live = records.live
        name = new.release.name
        if live is not None:
            stood_down = replace(live, state=ReleaseState.READY)
            await self._move(book, live, stood_down, action, _reason(f"replaced by {name}", reason))
        now = replace(new, state=ReleaseState.LIVE, canary=None, shadow=0.0)
        await self._move(book, new, now, action, reason, live.release.name if live else "")
        return now

    async def _move(
        self,
        book: ReleaseTransaction,
        old: ReleaseRecord | None,
        new: ReleaseRecord,
        action: Action,
        reason: str,
        replaced: str = "",
    ) -> None:
        now = datetime.now(UTC)
        since = now if old is None or old.state != new.state else old.since
        await book.put(replace(new, since=since, note=reason))
        came_from = old.state.value if old else ""
        evaluation = new.evaluation if action in {Action.EVALUATE, Action.PROMOTE, Action.CANARY} else None
        name = new.release.name
        await book.record(
            Transition(now, name, self._actor, action, came_from, new.state.value, reason, replaced, evaluation)
        )


def predecessor(switches: Sequence[Transition], records: Releases) -> ReleaseRecord | None:
    """Return the release to roll back to; None if there is none. ``switches`` are the transitions, oldest first.

    A promotion pushes the replaced release on a stack, and a rollback pops it. Two rollbacks therefore go back two
    releases.
    """
    stack: list[str] = []
    for one in switches:
        if one.action == Action.PROMOTE:
            stack.append(one.replaced)
        elif stack:
            stack.pop()
    ready = {one.release.name: one for one in records if one.state == ReleaseState.READY}
    return next((ready[name] for name in reversed(stack) if name in ready), None)


async def _known(book: ReleaseTransaction, name: str) -> ReleaseRecord:
    if one := (await book.records()).named(name):
        return one
    raise NotFound(f"There is no release {name!r}; `visualsearch release list` shows all releases.")


def _only(old: ReleaseRecord, what: str, *states: ReleaseState) -> None:
    if old.state not in states:
        wanted = " or ".join(states)
        raise Conflict(f"Release {old.release.name} is {old.state}: to {what}, it must be {wanted}.")


def _gate(new: ReleaseRecord, records: Releases, force: str) -> None:
    """Raise ``Conflict`` unless a release was evaluated against the live one and passed."""
    if force:
        return
    name, evaluation = new.release.name, new.evaluation
    if trouble := unproved(new, records):
        raise Conflict(f"{trouble} Run `visualsearch release evaluate {name}`, or force it with a reason.")
    assert evaluation is not None
    if not evaluation.passed:
        raise Conflict(f"Release {name} failed the gate: {_failures(evaluation)}. Build a better one, or force it.")


def _failures(evaluation: Evaluation) -> str:
    failed = [one for one in evaluation.checks if not one.passed]
    return "; ".join(f"{one.name} is {one.value:.4g}, must be {one.limit} {one.detail}".strip() for one in failed)


def _reason(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def unproved(new: ReleaseRecord, records: Releases) -> str:
    """Return why a release's evaluation is not valid; empty if it is, whether or not the release passed."""
    evaluation = new.evaluation
    live = records.live.release.name if records.live else ""
    name = new.release.name
    if evaluation is None:
        return f"Release {name} has not been evaluated yet."
    if evaluation.against not in {live, name}:
        return f"Release {name} was evaluated against {evaluation.against}, and {live} is live now."
    if datetime.now(UTC) - evaluation.at > VALID_FOR:
        return f"Release {name} was evaluated at {evaluation.at:%F %T}, which is too long ago."
    return ""
