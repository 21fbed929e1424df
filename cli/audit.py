"""`visualsearch audit`: who did what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.connections import with_access
from cli.console import out, print_json
from cli.durations import duration
from cli.tables import audit_table


def audit(
    since: Annotated[str, typer.Option(metavar="TIME", help="How far to look back: 90m, 12h, 30d.")] = "30d",
    actor: Annotated[
        str, typer.Option(help="Only what this one did: the owner of a key, or user@machine for a command.")
    ] = "",
    action: Annotated[
        str, typer.Option(help="Only this action, such as key.revoke, or all of a noun, such as key. or release.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 100,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show who deleted, changed, released, exported or restored what, when, and how it ended."""
    begin = datetime.now(UTC) - duration(since)
    entries = with_access(lambda _, audit_log: audit_log.entries(since=begin, actor=actor, action=action, limit=limit))
    if json:
        print_json([asdict(entry) for entry in entries])
    else:
        out.print(audit_table(entries))
