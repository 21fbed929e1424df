"""Format reports as a table for the terminal and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from evaluation.offline.report import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.offline.report import Figure, Report

GROUPS_SHOWN = 40
SKIPPED_SHOWN = 20

out = Console()


def tell_skipped(skipped: Mapping[str, str]) -> None:
    """Print the number of skipped pictures, and the first of them with the reasons."""
    if skipped:
        out.print(f"Pictures that cannot be read and are skipped: {len(skipped)}", highlight=False)
    for name, reason in list(skipped.items())[:SKIPPED_SHOWN]:
        out.print(f"  {name}: {reason}", highlight=False, markup=False)
    if len(skipped) > SKIPPED_SHOWN:
        out.print(f"  and {len(skipped) - SKIPPED_SHOWN} more.")


def table(title: str, reports: Mapping[str, Report]) -> Table:
    """Return a table of reports by label: each over all its queries, then the groups of the first report."""
    first = next(iter(reports.values()))
    measures = sorted(first.overall, key=lambda measure: measure != PRIMARY)
    shown = Table(title=title, caption="means over queries; brackets and ± are 95% bootstrap intervals")
    for heading in ("", "queries", *measures):
        shown.add_column(heading, overflow="fold")
    for label, report in reports.items():
        shown.add_row(label, *_cells(report.overall, measures))
    if len(first.by_group) > 1:
        shown.add_section()
        for group, figures in list(first.by_group.items())[:GROUPS_SHOWN]:
            shown.add_row(group, *_cells(figures, measures))
    return shown


def _cells(figures: Mapping[str, Figure], measures: Sequence[str]) -> list[str]:
    others = [f"{figures[one].mean:.3f} ±{(figures[one].high - figures[one].low) / 2:.3f}" for one in measures[1:]]
    return [str(figures[measures[0]].queries), str(figures[measures[0]]), *others]


def as_json(reports: Mapping[str, Mapping[str, Report]]) -> str:
    """Return every figure as JSON by set and label, including those per query."""
    facts = {
        name: {
            label: {
                "overall": {measure: vars(figure) for measure, figure in report.overall.items()},
                "groups": {
                    group: {measure: vars(figure) for measure, figure in figures.items()}
                    for group, figures in report.by_group.items()
                },
                "queries": report.per_query,
            }
            for label, report in by_label.items()
        }
        for name, by_label in reports.items()
    }
    return json.dumps(facts, indent=1)
