"""How a release comes to answer, and how it goes: building -> ready -> canary -> live -> retired.

A release that another one replaced is ready again: it is still written to, so that it can answer at once after a
rollback. Standard library only; what is decided here holds under a lock that the log keeps.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Conflict, InvalidInput, NotFound
from visualsearch.domain.release_state import Action, Job, ReleaseRecord, Transition
from visualsearch.domain.releases import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.release_state import Canary, Evaluation
    from visualsearch.domain.releases import Release
    from visualsearch.ports import ReleaseRepository, ReleaseTransaction

VALID_FOR = timedelta(hours=24)
"""How long an evaluation counts: indexes grow, and machines change."""
MAX_CANARY = 50.0
"""Percent of the traffic; beyond it the canary would be what most people see."""


class Lifecycle:
    """Moves releases from state to state, one mover at a time; every move is kept with who made it and why.

    Each call raises ``NotFound`` for a name that no release has, and ``Conflict`` for a move that is not possible now.
    """

    def __init__(self, log: ReleaseRepository, actor: str) -> None:
        self._log = log
        self._actor = actor

    async def begin(self, release: Release, job: Job = Job.NONE) -> None:
        """Write a release down as building; no-op where its build was begun before as the same."""
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
                raise Conflict(f"Release {release.name} was begun as {old.release}; that is not what is asked for now.")
            if job is not old.job:
                await book.put(replace(old, job=job))

    async def ready(self, name: str) -> None:
        """Say that a release's collection is complete."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "become ready", ReleaseState.BUILDING)
            job = Job.EVALUATE if old.job is Job.RESUME else Job.NONE
            await self._move(book, old, replace(old, state=ReleaseState.READY, job=job), Action.READY, "")

    async def failed(self, release: Release, reason: str, *, again: bool = False) -> None:
        """Note why a job on a release came to nothing; ``again`` leaves the job to be tried again.

        Its state stays, and it may be gone on with; but a build that was only asked for, and cannot begin, is retired.
        """
        async with self._log.switching() as book:
            old = next((one for one in await book.records() if one.release.name == release.name), None)
            if old is None:  # it could not even begin: the history alone tells
                now = datetime.now(UTC)
                await book.record(Transition(now, release.name, self._actor, Action.FAIL, "", "", reason))
                return
            if again and old.note == reason:
                return
            state = ReleaseState.RETIRED if old.job is Job.BUILD and not again else old.state
            job = old.job if again else Job.NONE
            await self._move(book, old, replace(old, state=state, job=job), Action.FAIL, reason)

    async def ask(self, name: str, job: Job) -> None:
        """Ask the indexers for a job on a release."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, f"be given to an indexer to {job}", ReleaseState.READY, ReleaseState.CANARY, ReleaseState.LIVE)
            await book.put(replace(old, job=job))

    async def evaluated(self, name: str, evaluation: Evaluation) -> None:
        """Keep what the gate found out."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            reason = "passed" if evaluation.passed else f"failed: {_failures(evaluation)}"
            new = replace(old, evaluation=evaluation, job=Job.NONE)
            await self._move(book, old, new, Action.EVALUATE, reason)

    async def shadow(self, name: str, share: float) -> None:
        """Let a percentage of the queries run on a release too, out of sight; 0 ends it."""
        if not 0 <= share <= 100:
            raise InvalidInput(f"A shadow's share is 0 to 100 percent, and is {share:g}.")
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "run as a shadow", ReleaseState.READY)
            others = [one for one in await book.records() if one.shadow and one.release.name != name]
            if others and share:
                raise Conflict(f"Release {others[0].release.name} runs as a shadow; end that first (share 0).")
            await self._move(book, old, replace(old, shadow=share), Action.SHADOW, f"{share:g}% of the queries")

    async def canary(self, name: str, canary: Canary, *, force: str = "") -> None:
        """Show a release to a part of the users. ``force`` is the reason to do so whatever the gate says."""
        steps = canary.steps
        if not steps or list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= MAX_CANARY:
            raise InvalidInput(f"A canary's steps must rise, above 0 and up to {MAX_CANARY:g} percent: such as 1,2,5.")
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "become a canary", ReleaseState.READY, ReleaseState.CANARY)
            records = await book.records()
            for other in records:
                if other.state == ReleaseState.CANARY and other.release.name != name:
                    raise Conflict(f"Release {other.release.name} is the canary; promote it or roll it back first.")
            _gate(old, records, force)
            new = replace(old, state=ReleaseState.CANARY, canary=canary, shadow=0.0)
            await self._move(book, old, new, Action.CANARY, _reason(f"{canary.share:g}% of the traffic", force))

    async def step(self, name: str, step: int) -> None:
        """Let a canary answer for its next share of the traffic; no-op where somebody else has moved it."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            if old.state != ReleaseState.CANARY or not old.canary or old.canary.step != step - 1:
                return
            canary = replace(old.canary, step=step, since=datetime.now(UTC))
            await self._move(book, old, replace(old, canary=canary), Action.STEP, f"{canary.share:g}% of the traffic")

    async def promote(self, name: str, *, reason: str = "", force: str = "") -> ReleaseRecord:
        """Make a release live in one step, and the one that was live ready; return how it stands.

        ``force`` is the reason to do so whatever the gate says.
        """
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "be promoted", ReleaseState.READY, ReleaseState.CANARY)
            records = await book.records()
            _gate(old, records, force)
            return await self._switch(book, records, old, Action.PROMOTE, _reason(reason, force))

    async def roll_back(self, reason: str, *, canary: str | None = None) -> ReleaseRecord:
        """End the canary; where there is none, make the release live that the live one replaced.

        Returns how the release stands that was rolled back to (for a canary, the live one). ``canary`` names the only
        release that may be taken back.
        """
        async with self._log.switching() as book:
            records = await book.records()
            live = next((one for one in records if one.state == ReleaseState.LIVE), None)
            running = next((one for one in records if one.state == ReleaseState.CANARY), None)
            if canary is not None and (running is None or running.release.name != canary):
                raise Conflict(f"Release {canary} is no canary any more.")
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
        """Let a release go; its collection and its model go as soon as no request can still be using them."""
        async with self._log.switching() as book:
            old = await _known(book, name)
            _only(old, "be retired", ReleaseState.READY, ReleaseState.BUILDING)
            new = replace(old, state=ReleaseState.RETIRED, shadow=0.0, job=Job.NONE)
            await self._move(book, old, new, Action.RETIRE, reason)

    async def _switch(
        self,
        book: ReleaseTransaction,
        records: Sequence[ReleaseRecord],
        new: ReleaseRecord,
        action: Action,
        reason: str,
    ) -> ReleaseRecord:
        """Let ``new`` take the place of what is live."""
        live = next((one for one in records if one.state == ReleaseState.LIVE), None)
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


def predecessor(switches: Sequence[Transition], records: Sequence[ReleaseRecord]) -> ReleaseRecord | None:
    """Return the release to roll back to. ``switches`` is what became live, oldest first.

    A promotion puts what it replaced on a stack, a rollback takes it off: who rolls back twice goes back twice.
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
    for one in await book.records():
        if one.release.name == name:
            return one
    raise NotFound(f"There is no release {name!r}; `visualsearch release list` names those that there are.")


def _only(old: ReleaseRecord, what: str, *states: ReleaseState) -> None:
    if old.state not in states:
        wanted = " or ".join(states)
        raise Conflict(f"Release {old.release.name} is {old.state}: to {what}, it must be {wanted}.")


def _gate(new: ReleaseRecord, records: Sequence[ReleaseRecord], force: str) -> None:
    """Refuse a release that was not evaluated against what is live, or did not pass."""
    if force:
        return
    name, evaluation = new.release.name, new.evaluation
    if trouble := unproved(new, records):
        raise Conflict(f"{trouble} Run `visualsearch release evaluate {name}`, or force it with a reason.")
    assert evaluation is not None
    if not evaluation.passed:
        raise Conflict(f"The gate keeps release {name} back: {_failures(evaluation)}. Build a better one, or force it.")


def _failures(evaluation: Evaluation) -> str:
    failed = [one for one in evaluation.checks if not one.passed]
    return "; ".join(f"{one.name} is {one.value:.4g}, must be {one.limit} {one.detail}".strip() for one in failed)


def _reason(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def unproved(new: ReleaseRecord, records: Sequence[ReleaseRecord]) -> str:
    """Say why a release's evaluation does not count, or nothing where it does, whatever its verdict."""
    evaluation = new.evaluation
    live = next((one.release.name for one in records if one.state == ReleaseState.LIVE), "")
    name = new.release.name
    if evaluation is None:
        return f"Release {name} has not been evaluated yet."
    if evaluation.against not in {live, name}:
        return f"Release {name} was evaluated against {evaluation.against}, and {live} is live now."
    if datetime.now(UTC) - evaluation.at > VALID_FOR:
        return f"Release {name} was evaluated at {evaluation.at:%F %T}, which is too long ago."
    return ""
