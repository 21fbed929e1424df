"""`visualsearch dead-letters`: events that the indexers have given up on."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.connections import with_stores
from cli.console import out
from cli.tables import dead_letters_table

app = typer.Typer(no_args_is_help=True, help="Events that the indexers have given up on.")


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 100,
) -> None:
    """List the events that were given up on, with the reason."""
    out.print(dead_letters_table(with_stores(lambda stores: stores.events.dead_letters(limit), search_servers=False)))


@app.command("retry")
def retry_command(
    entries: Annotated[list[str] | None, typer.Argument(help="Entries to retry; all of them when left out.")] = None,
) -> None:
    """Put dead letters back on the stream."""
    revived = with_stores(lambda stores: stores.events.requeue(entries or []), search_servers=False)
    out.print(f"{revived} events are on the stream again.")
