"""The certificates of the local stack."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from cli.console import out, print_json
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings


def certificates(
    *,
    renew: Annotated[bool, typer.Option(help="Replace them now; connections and requests go on.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The end of each certificate, by its name.")] = False,
) -> None:
    """Show until when the certificates of a stack with TLS are valid; the stack renews them 15 days before."""
    try:
        from compose import renewal
    except ImportError:
        raise ConfigurationError("The local servers are not part of this image: run this in a checkout.") from None
    home = Settings.load().home
    if renew:
        renewal.renew(home)
    ends = renewal.ends(home)
    if json:
        print_json(ends)
        return
    table = Table("certificate", "valid until")
    for name, end in ends.items():
        table.add_row(name, f"{end:%Y-%m-%d %H:%M} UTC")
    out.print(table)
