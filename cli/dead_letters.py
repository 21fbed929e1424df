"""`visualsearch dead-letters`: events that the indexers have given up on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import operator, with_stores
from cli.console import out
from cli.tables import dead_letters_table
from visualsearch.audit import audited
from visualsearch.domain.audit import Action

if TYPE_CHECKING:
    from visualsearch.composition import Stores

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

    async def work(stores: Stores) -> int:
        subject = ", ".join(entries or ["all"])
        async with audited(stores.audit_log, operator(), Action.RETRY_DEAD_LETTERS, subject):
            return await stores.events.requeue(entries or [])

    revived = with_stores(work, search_servers=False)
    out.print(f"{revived} events are on the stream again.")
