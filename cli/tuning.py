"""`visualsearch tune`: choose the search parameters of the live release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.connections import with_stores
from cli.console import out
from cli.tuning_run import tune as run_tuning


def tune(
    recall: Annotated[float, typer.Option(min=0.5, max=1.0, help="Recall@10 that searches must reach.")] = 0.98,
    queries: Annotated[int, typer.Option(min=20, max=2000, help="How many are drawn from the corpus.")] = 200,
    nlist: Annotated[
        list[int] | None, typer.Option(min=1, max=65536, help="Measure this nlist too, on a copy; may be repeated.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into this PNG.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and tell, change nothing.")] = False,
) -> None:
    """Choose what the live release is searched with, by measuring it against exact answers; exit with 1 when short."""
    reached = with_stores(lambda stores: run_tuning(stores, out, recall, queries, nlist or [], plot, dry_run=dry_run))
    raise typer.Exit(0 if reached else 1)
