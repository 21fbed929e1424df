"""Tables of the releases, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from visualsearch.domain.releases import PIXEL_REVISION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.release_state import Evaluation, ReleaseRecord, Transition


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def standings_table(records: Sequence[ReleaseRecord]) -> Table:
    """Show where releases stand, and why."""
    names = ("name", "state", "since", "model version", "collection", "profile", "fingerprint", "gate")
    table = _table(*names, "lowest score", "note")
    for one in records:
        release = one.release
        share = one.canary.share if one.canary else one.shadow
        state = f"{one.state} {share:g}%" if one.canary else f"{one.state}, shadow {share:g}%" if share else one.state
        lowest = f"{release.calibration.min_score:.3f}" if release.calibration else ""
        gate = "" if one.evaluation is None else "passed" if one.evaluation.passed else "failed"
        table.add_row(
            *(release.name, state, f"{one.since:%F %T}", str(release.model_version), release.collection),
            *(release.profile, f"{release.fingerprint[:12]} r{release.pixel_revision}", gate, lowest),
            escape(_note(one)),
        )
    return table


def _note(one: ReleaseRecord) -> str:
    if one.release.pixel_revision == PIXEL_REVISION:
        return one.note
    stale = f"built of pixels of revision {one.release.pixel_revision}, now {PIXEL_REVISION}: build it anew"
    return f"{one.note}; {stale}" if one.note else stale


def history_table(transitions: Sequence[Transition]) -> Table:
    """Show what was done to releases."""
    table = _table("when", "release", "who", "what", "from", "to", "why")
    for one in transitions:
        texts = (one.release, one.actor, one.action, one.from_state, one.to_state, one.reason)
        table.add_row(f"{one.at:%F %T}", *map(escape, texts))
    return table


def checks_table(evaluation: Evaluation) -> Table:
    """Show what the gate found, condition by condition."""
    table = _table("condition", "value", "limit", "verdict", "")
    for one in evaluation.checks:
        verdict = "passed" if one.passed else "[bold red]failed[/]"
        table.add_row(one.name, f"{one.value:.4g}", one.limit, verdict, one.detail)
    return table


def canary_table(canary: dict[str, Any]) -> Table:
    """Show how the canary does beside the live release, out of the gateway's /stats."""
    columns = ("requests", "errors", "p95_ms", "recall", "recall_queries", "searches", "clicked")
    table = _table("release", *(name.replace("_", " ") for name in columns))
    table.title = f"{canary['release']}: {canary['share']:g}% of the traffic, of steps {canary['steps']}"
    for name, seen in canary["seen"].items():
        table.add_row(name, *("-" if seen[column] is None else f"{seen[column]:.4g}" for column in columns))
    return table


def shadow_table(shadow: dict[str, Any]) -> Table:
    """Show how alike a shadow's answers are to the live ones."""
    columns = ("queries", "errors", "shed", "overlap", "rbo", "same_first")
    table = _table("shadow", *(name.replace("_", " ") for name in columns))
    table.add_row(shadow["release"], *("-" if shadow[name] is None else f"{shadow[name]:.4g}" for name in columns))
    return table
