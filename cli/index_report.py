"""Prints the summary of an indexing run. Control characters in file names are escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cli.console import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from indexer.sources.index_summary import NoPictures, Summary
    from indexer.sources.omissions import Omissions
    from visualsearch.domain.images import Image

LISTED = 100
"""So many files are listed one by one; the rest is counted."""
LISTED_KINDS = 10
"""So many kinds of files are listed; the rest is counted together."""


def print_summary(summary: Summary, omissions: Omissions, console: Console, *, dry_run: bool = False) -> None:
    """Say what became of each file, and list those that are not searchable with the reason."""
    _print(_counts(summary, dry_run=dry_run), console)
    if summary.replaced:
        _print(f"{_files(summary.replaced)} had other content when indexed before: the new one replaces it.", console)
    if summary.no_pictures.counts:
        _print(_no_pictures(summary.no_pictures), console)
    if omissions.excluded.total():
        excluded = _by_kind(omissions.excluded, {one: f"by {one}" for one in omissions.excluded})
        _print(f"{_files(omissions.excluded.total())} excluded: {excluded}.", console)
    print_table(("rejected", "reason"), summary.rejected, console)
    print_table(("not entered", "reason"), omissions.folders, console)
    print_table(("file", "its key, because no key can have its name"), summary.renamed, console)


def print_gone(images: Sequence[Image], console: Console) -> None:
    """List images whose files are gone."""
    rows = [(str(image.id), image.uri) for image in images]
    print_table(("image", "no longer a picture in the folder"), rows, console)


def print_table(headings: tuple[str, str], rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Print a table with as many rows as a person reads, unless there are none."""
    if not rows:
        return
    table = Table(*headings)
    for left, right in rows[:LISTED]:
        table.add_row(Text(printable(left)), Text(printable(right)))
    console.print(table)
    if len(rows) > LISTED:
        _print(f"... and {len(rows) - LISTED:,} more.", console)


def _counts(summary: Summary, *, dry_run: bool) -> str:
    if dry_run:
        return (
            f"{summary.indexed} would be indexed, {summary.skipped} unchanged, {len(summary.rejected)} rejected. "
            "Damaged pictures are found only when they are indexed."
        )
    rate = f", {summary.indexed / summary.seconds:.0f} a second" if summary.indexed and summary.seconds else ""
    return (
        f"{summary.indexed} indexed, {summary.skipped} unchanged, {len(summary.rejected)} rejected "
        f"in {summary.seconds:.1f} s{rate}."
    )


def _no_pictures(found: NoPictures) -> str:
    names = {
        suffix: f"{suffix or 'without a suffix'} ({'such as ' if found.counts[suffix] > 1 else ''}{example})"
        for suffix, example in found.examples.items()
    }
    number = found.counts.total()
    verb, noun = ("is", "picture") if number == 1 else ("are", "pictures")
    return f"{_files(number)} {verb} no {noun}: {_by_kind(found.counts, names)}."


def _by_kind(counts: Mapping[str, int], names: Mapping[str, str]) -> str:
    kinds = sorted((kind for kind in counts if counts[kind]), key=lambda kind: (-counts[kind], kind))
    texts = [f"{counts[kind]:,} {names[kind]}" for kind in kinds[:LISTED_KINDS]]
    if others := kinds[LISTED_KINDS:]:
        texts.append(f"{sum(counts[kind] for kind in others):,} of {len(others)} other kinds")
    return ", ".join(texts)


def images(number: int) -> str:
    """Return a number of images in words."""
    return "1 image" if number == 1 else f"{number:,} images"


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"


def _print(text: str, console: Console) -> None:
    console.print(Text(printable(text)), soft_wrap=True)
