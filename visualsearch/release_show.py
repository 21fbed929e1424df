"""Tables of the releases, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.standing import Standing, Transition


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def standings_table(standings: Sequence[Standing]) -> Table:
    """Show where releases stand, and why."""
    table = _table("name", "state", "since", "model version", "collection", "profile", "fingerprint", "gate", "note")
    for one in standings:
        release = one.release
        share = one.canary.share if one.canary else one.shadow
        state = f"{one.state} {share:g}%" if one.canary else f"{one.state}, shadow {share:g}%" if share else one.state
        gate = "" if one.evaluation is None else "passed" if one.evaluation.passed else "failed"
        table.add_row(
            *(release.name, state, f"{one.since:%F %T}", str(release.model_version), release.collection),
            *(release.profile, release.fingerprint[:12], gate, one.note),
        )
    return table


def history_table(transitions: Sequence[Transition]) -> Table:
    """Show what was done to releases."""
    table = _table("when", "release", "who", "what", "from", "to", "why")
    for one in transitions:
        table.add_row(f"{one.at:%F %T}", one.release, one.actor, one.action, one.from_state, one.to_state, one.reason)
    return table
