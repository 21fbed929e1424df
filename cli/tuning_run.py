"""Tuning as a person at a terminal starts and sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from indexer.releases.search_tuning import SettingMeasurement, Tuning, choose, nlist_for, settings
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.recall import CANDIDATES
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.progress import TaskID

    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Release

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


async def tune(
    stores: Stores,
    console: Console,
    recall: float,
    queries: int,
    nlists: Sequence[int],
    plot: Path | None,
    *,
    dry_run: bool,
) -> bool:
    """Measure the live release's collection, show the curve, and let the release search with what was chosen.

    Returns whether the recall was reached. Raises ``InvalidInput`` where there is nothing to tune.
    """
    if plot is not None:
        _drawable(plot)
    live = await ActiveReleases(stores.release_repository).live()
    measured = await _measured(stores, console, live, queries, nlists)
    mine = [one for one in measured if one.profile == live.profile]
    now, chosen, best = _in_force(mine, live), choose(mine, recall), choose(measured, recall)
    console.print(_table(measured, chosen, best))
    if plot is not None:
        _plot(measured, recall, plot)
        console.print(f"The curve: {plot}", highlight=False)
    await _apply(stores, console, live, mine, chosen, now, recall, dry_run=dry_run)
    await _advise(stores, console, live, chosen, best)
    return (best or chosen) is not None


async def _measured(
    stores: Stores, console: Console, live: Release, count: int, nlists: Sequence[int]
) -> list[SettingMeasurement]:
    """Measure the live collection, and a copy of it for each other nlist."""
    index, search = stores.vectors.index_params(live.profile), stores.vectors.search_params(live.profile)
    if nlists and "nlist" not in index:
        raise InvalidInput(f"Release {live.name} has an index of profile {live.profile}, which has no nlist to try.")
    with Progress(*COLUMNS, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        tuning = Tuning(stores.vectors, live.collection, show)
        asked = await tuning.queries(count)
        tried = settings(index, search)
        if (now := _params(live)) not in tried:
            tried.append(now)
        measured = await tuning.measure(live.collection, live.profile, tried, asked)
        for nlist in nlists:
            if nlist != index["nlist"]:
                profile = f"{live.profile.partition('/')[0]}/nlist={nlist}"
                measured += await tuning.trial(profile, settings({**index, "nlist": nlist}, search), asked)
    return measured


def _params(live: Release) -> dict[str, int]:
    return {"candidates": CANDIDATES, **live.search_params}


def _in_force(measured: Sequence[SettingMeasurement], live: Release) -> SettingMeasurement:
    return next(one for one in measured if one.params == _params(live))


def _words(one: SettingMeasurement) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.params.items())


def _table(
    measured: Sequence[SettingMeasurement], chosen: SettingMeasurement | None, best: SettingMeasurement | None
) -> Table:
    """Show, for each index and width of search, the recall by number of candidates and the time it takes."""
    table = Table("index", "search", "candidates", "recall@10", "ms", "", caption="medians of one search at a time")
    for one in measured:
        mark = "chosen" if one is chosen else "best, after a rebuild" if one is best else ""
        search = ", ".join(f"{name} {value}" for name, value in one.params.items() if name != "candidates")
        table.add_row(
            one.profile,
            search,
            str(one.params["candidates"]),
            f"{one.recall:.3f}",
            f"{one.median_ms:.1f}",
            mark,
            style="bold green" if one is chosen else None,
        )
    return table


async def _apply(
    stores: Stores,
    console: Console,
    live: Release,
    mine: Sequence[SettingMeasurement],
    chosen: SettingMeasurement | None,
    now: SettingMeasurement,
    recall: float,
    *,
    dry_run: bool,
) -> None:
    if chosen is None:
        top = max(mine, key=lambda one: one.recall)
        console.print(
            f"No setting of this index reaches recall {recall:g}: the best, {_words(top)}, has {top.recall:.3f}. "
            "Nothing was changed. Ask for less, or build a release with longer codes or a graph: "
            "`visualsearch release build --profile ivf_pq/m=64` or `--profile hnsw`.",
            highlight=False,
        )
        return
    was = f"{_words(now)} with recall {now.recall:.3f} in {now.median_ms:.1f} ms"
    then = f"{_words(chosen)} with recall {chosen.recall:.3f} in {chosen.median_ms:.1f} ms"
    if chosen.params == now.params:
        console.print(f"Release {live.name} searches with the best setting already: {then}.", highlight=False)
        return
    if dry_run:
        console.print(
            f"Release {live.name} searches with {was}; {then} was found. Nothing was changed.", highlight=False
        )
        return
    await stores.recall_repository.search_with(live.name, chosen.params)
    console.print(
        f"Release {live.name} searched with {was}. From now on: {then}. Gateways follow within a second; nothing "
        "has to be built.",
        highlight=False,
    )


async def _advise(
    stores: Stores, console: Console, live: Release, chosen: SettingMeasurement | None, best: SettingMeasurement | None
) -> None:
    """Say what only a rebuild would change."""
    if best is not None and best is not chosen and best.profile != live.profile:
        changes = ",".join(f"{name}={value}" for name, value in best.params.items() if name != "candidates")
        console.print(
            f"{best.profile} would do better, {best.recall:.3f} in {best.median_ms:.1f} ms, and needs a rebuild: "
            f"`visualsearch release build --profile {best.profile},{changes}`.",
            highlight=False,
        )
        return
    nlist = stores.vectors.index_params(live.profile).get("nlist")
    rows = await stores.vectors.count(live.collection)
    rule = nlist_for(rows, stores.vectors.shards)
    if nlist and not nlist / 2 <= rule <= nlist * 2:
        console.print(
            f"{rows:,} rows would rather have nlist {rule} than {nlist}: `visualsearch tune --nlist {rule}` measures "
            "that on a copy of the collection.",
            highlight=False,
        )


def _drawable(plot: Path) -> None:
    """Raise ``InvalidInput`` where the plot could not be written, before minutes are spent on it."""
    if plot.suffix.lower() not in {".png", ".svg", ".pdf"} or not plot.parent.is_dir():
        raise InvalidInput(
            f"The plot cannot be written to {plot}: name a .png, .svg or .pdf file in a folder that is there."
        )


def _plot(measured: Sequence[SettingMeasurement], recall: float, plot: Path) -> None:
    """Draw recall over time for each index and number of candidates."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise ConfigurationError("--plot needs matplotlib: `pip install matplotlib` in this environment.") from None
    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    for profile in dict.fromkeys(one.profile for one in measured):
        for count in sorted({one.params["candidates"] for one in measured}):
            line = [one for one in measured if one.profile == profile and one.params["candidates"] == count]
            label = f"{profile}, {count} candidates"
            axes.plot([one.median_ms for one in line], [one.recall for one in line], marker=".", label=label)
    axes.axhline(recall, color="#000", linewidth=0.6)
    axes.set(xlabel="ms a search (median)", ylabel="recall@10", title="Recall and time of each setting")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(plot, dpi=110)
    plt.close(figure)
