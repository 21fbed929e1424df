"""The groups of `visualsearch duplicates` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.maintenance.duplicate_groups import DuplicateGroup
    from indexer.maintenance.duplicate_report import DuplicateReport
    from visualsearch.domain.images import Image

MEMBERS = 20
"""Images of one group that are shown, so that one large group does not hide the others."""


def duplicates_table(report: DuplicateReport, limit: int) -> Table:
    """Show the largest groups of exact copies, then those of near-duplicates: at most ``limit`` of each."""
    uri = Column("uri", overflow="fold")
    table = Table("group", "id", uri, "size", "owner", "visibility", "cosine", "bits")
    for number, group in enumerate(report.copies[:limit], 1):
        _add(table, f"copies {number}", group, report, near=False)
    for number, group in enumerate(report.near[:limit], 1):
        _add(table, f"near {number}", group, report, near=True)
    return table


def summary(report: DuplicateReport, limit: int) -> str:
    """Say how many groups there are, and what was not compared."""
    return "\n".join(_sentences(report, limit))


def _sentences(report: DuplicateReport, limit: int) -> Iterator[str]:
    copies, near = (sum(len(group.members) for group in groups) for groups in (report.copies, report.near))
    yield (
        f"{report.images:,} images, release {report.release}. "
        f"Exact copies: {copies:,} (groups: {len(report.copies):,}). "
        f"Near-duplicates: {near:,} (groups: {len(report.near):,})."
    )
    if (most := max(len(report.copies), len(report.near))) > limit:
        yield f"At most {limit} groups of each kind are shown; --limit {most} shows all."
    if report.without_embedding:
        yield f"Without an embedding, so that only exact copies were looked for: {report.without_embedding:,}."
    if report.without_colours:
        yield f"Compared without colours, which the indexers add in the background: {report.without_colours:,}."


def _add(table: Table, name: str, group: DuplicateGroup, report: DuplicateReport, *, near: bool) -> None:
    table.add_row(name, *_cells(report.known[group.leader]), "keep", "")
    for member in group.members[:MEMBERS]:
        figures = (f"{member.cosine:.3f}", str(member.distance)) if near else ("", "")
        table.add_row("", *_cells(report.known[member.image_id]), *figures)
    if (more := len(group.members) - MEMBERS) > 0:
        table.add_row("", "", f"and {more:,} more")
    table.add_section()


def _cells(image: Image) -> tuple[str, ...]:
    size = f"{image.width}x{image.height}"
    return str(image.id), escape(image.uri), size, escape(image.owner), str(image.visibility)
