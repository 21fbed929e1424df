"""`visualsearch release`: which model version and which collection answer, and how that is changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.progress import Progress

from cli.connections import operator, with_stores
from cli.console import out
from cli.release_progress import build_with_bar
from cli.release_tables import canary_table, checks_table, history_table, shadow_table, standings_table
from indexer.releases import score_calibrator
from indexer.releases.release_gate import Gate, Limits
from visualsearch.client import connect
from visualsearch.domain.errors import Conflict, InvalidInput, NotFound, VisualSearchError
from visualsearch.domain.release_state import Canary
from visualsearch.releases.active_releases import wanted
from visualsearch.releases.lifecycle import Lifecycle, unproved
from visualsearch.releases.release_reconciler import GRACE, follow
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.progress import TaskID

    from visualsearch.composition import Stores
    from visualsearch.domain.release_state import Evaluation, ReleaseRecord
    from visualsearch.domain.releases import Release
    from visualsearch.domain.score_calibration import ScoreCalibration


app = typer.Typer(no_args_is_help=True, help=__doc__)

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The release's name; `release list` shows them.")]
Reason = Annotated[str, typer.Option(help="The reason, recorded in the history.")]
Force = Annotated[bool, typer.Option("--force", help="Whatever the gate says; needs --reason.")]


def _with_releases(work: Callable[[Stores, Lifecycle], Awaitable[T]]) -> T:
    """Run work on the stores; what it does to releases is recorded under the name of the user and this machine."""
    return with_stores(lambda stores: work(stores, Lifecycle(stores.release_repository, operator())))


async def _follow(stores: Stores) -> None:
    """Bring aliases and models into line now; an indexer does it within seconds where this fails."""
    try:
        for sentence in await follow(await stores.release_repository.records(), stores.vectors, stores.models):
            out.print(sentence, highlight=False)
    except VisualSearchError as error:
        out.print(f"[yellow]The indexers will update aliases and models:[/] {error}", highlight=False)


async def _evaluate(stores: Stores, lifecycle: Lifecycle, release: Release) -> Evaluation:
    """Evaluate a release with a bar, and show the verdict."""
    settings = Settings.load()
    limits = Limits(settings.release_margin, settings.release_recall, settings.release_p95_ms)
    gate = Gate(stores, settings.evaluation_set, settings.model_repository / settings.model_name, limits)
    with Progress(console=out) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        evaluation = await gate.evaluate(release, lifecycle, tell)
    out.print(checks_table(evaluation))
    return evaluation


async def _record(stores: Stores, name: str) -> ReleaseRecord:
    if one := (await stores.release_repository.records()).named(name):
        return one
    raise NotFound(f"There is no release {name!r}; `visualsearch release list` shows all releases.")


async def _prove(stores: Stores, lifecycle: Lifecycle, name: str) -> None:
    """Evaluate a release where its last evaluation does not count any more."""
    one = await _record(stores, name)
    if one.state in {"ready", "canary"} and unproved(one, await stores.release_repository.records()):
        await _evaluate(stores, lifecycle, one.release)


def _forced(force: bool, reason: str) -> str:
    if force and not reason.strip():
        raise InvalidInput("--force needs --reason: the history records why the gate was overridden.")
    return f"forced: {reason}" if force else ""


@app.command("list")
def list_releases() -> None:
    """List releases, the newest first, with why each stands where it does."""
    out.print(standings_table(_with_releases(lambda stores, _: stores.release_repository.records())))


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="One release; all of them when left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 50,
) -> None:
    """Show what was done to releases: when, by whom, and why."""
    out.print(history_table(_with_releases(lambda stores, _: stores.release_repository.history(name, limit))))


@app.command()
def build(
    model_version: Annotated[int | None, typer.Option(min=1, help="The live release's when left out.")] = None,
    profile: Annotated[str | None, typer.Option(help="Index profile; the live release's when left out.")] = None,
    name: Annotated[str | None, typer.Option(help="Made of version and profile when left out.")] = None,
) -> None:
    """Build a release's collection out of the stored pictures, beside what is live; go on with one that was begun."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> None:
        release = await wanted(stores.release_repository, stores.encoder, stores.vectors, model_version, profile, name)
        await build_with_bar(stores, out, lifecycle, release)
        out.print(f"Release {release.name} is ready: collection {release.collection}.", highlight=False)
        await _follow(stores)
        await _evaluate(stores, lifecycle, release)

    _with_releases(work)


@app.command()
def evaluate(name: Name) -> None:
    """Hold a release against the gate; exit with 1 when it does not pass."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> bool:
        return (await _evaluate(stores, lifecycle, (await _record(stores, name)).release)).passed

    raise typer.Exit(0 if _with_releases(work) else 1)


@app.command()
def calibrate(name: Name) -> None:
    """Estimate the score that 1 in 1,000 unrelated pictures reaches; an indexer does so by itself as a corpus grows."""

    async def work(stores: Stores, _: Lifecycle) -> ScoreCalibration | None:
        release = (await _record(stores, name)).release
        return await score_calibrator.calibrate(stores.vectors, stores.release_repository, release)

    found = _with_releases(work)
    if found is None:
        raise Conflict(f"Release {name} has too few unrelated pictures for an estimate: index some hundreds first.")
    out.print(
        f"At {found.min_score:.3f} (±{found.error:.3f}) 1 in {1 / found.rate:,.0f} unrelated pictures passes, "
        f"by {found.pairs:,} pairs of {found.images:,} pictures.",
        highlight=False,
    )


@app.command()
def promote(name: Name, *, reason: Reason = "", force: Force = False) -> None:
    """Make a release live, in one step; the one that was live stays ready for a rollback."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> None:
        if not force:
            await _prove(stores, lifecycle, name)
        await lifecycle.promote(name, reason="" if force else reason, force=_forced(force, reason))
        out.print(f"Release {name} is live.", highlight=False)
        await _follow(stores)

    _with_releases(work)


@app.command()
def canary(
    name: Name,
    steps: Annotated[str, typer.Option(help="Percent of the traffic, step by step.")] = "1,2,5",
    step_s: Annotated[float, typer.Option(min=1, help="Seconds that each step lasts.")] = 600,
    min_requests: Annotated[int, typer.Option(min=1, help="Before it has answered so many, nothing is judged.")] = 200,
    *,
    reason: Reason = "",
    force: Force = False,
) -> None:
    """Show a release to some users, more of them step by step; doing worse than the live one, it is rolled back."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> None:
        if not force:
            await _prove(stores, lifecycle, name)
        await lifecycle.canary(name, Canary(_numbers(steps), step_s, min_requests), force=_forced(force, reason))
        out.print(f"Release {name} is the canary, at {steps.split(',')[0]}% of the traffic.", highlight=False)
        await _follow(stores)

    _with_releases(work)


@app.command()
def shadow(name: Name, share: Annotated[float, typer.Option(help="Percent of the queries; 0 ends it.")] = 10) -> None:
    """Run a share of the queries on a release too, out of everybody's sight; `release watch` compares."""

    async def work(_: Stores, lifecycle: Lifecycle) -> None:
        await lifecycle.shadow(name, share)
        out.print(f"{share:g}% of the queries run on release {name} too.", highlight=False)

    _with_releases(work)


@app.command()
def watch() -> None:
    """Show how the canary and the shadow do beside the live release, as the gateway tells."""
    with connect() as client:
        stats = client.stats()
    tables = [canary_table(stats["canary"])] if stats["canary"] else []
    tables += [shadow_table(stats["shadow"])] if stats["shadow"] else []
    for table in tables:
        out.print(table)
    if not tables:
        out.print("There is neither a canary nor a shadow.")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(f"{text!r} are no steps: give percents with commas between them, such as 1,2,5.") from None


@app.command()
def rollback(*, reason: Reason = "") -> None:
    """End the canary; where there is none, go back to the release that the live one replaced."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> None:
        live = await lifecycle.roll_back(reason)
        out.print(f"Release {live.release.name} is live, and answers alone.", highlight=False)
        await _follow(stores)

    _with_releases(work)


@app.command()
def retire(name: Name, *, reason: Reason = "") -> None:
    """Retire a release. Its collection is dropped and its model unloaded once no request can use them."""

    async def work(stores: Stores, lifecycle: Lifecycle) -> None:
        await lifecycle.retire(name, reason)
        out.print(f"Release {name} is retired.", highlight=False)
        await asyncio.sleep(GRACE.total_seconds())
        await _follow(stores)

    _with_releases(work)
