"""The `visualsearch` command."""

from __future__ import annotations

import logging
import sys

import typer
from rich.markup import escape

from cli import (
    audit,
    certificates,
    dead_letters,
    duplicates,
    encoder,
    experiment,
    images,
    index,
    index_file,
    keys,
    plan,
    release,
    search,
    stack,
    stores,
    tuning,
)
from cli.console import err, printable
from visualsearch.domain.errors import VisualSearchError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(images.app, name="images")
app.add_typer(release.app, name="release")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(experiment.app, name="experiment")
app.add_typer(keys.app, name="keys")
for command in (
    *(stack.up, stack.down, stack.status, stack.logs, stack.prometheus, stack.init, certificates.certificates),
    *(index_file.export_index, index_file.import_index),
    *(index.index, search.search, stores.reconcile, stores.backup, stores.restore, tuning.tune, plan.plan, audit.audit),
    duplicates.duplicates,
):
    app.command()(command)
for passed_on in (encoder.train, encoder.evaluate, encoder.export):
    app.command(context_settings=encoder.PASS_ON)(passed_on)


def main() -> None:
    """Run the command; an error that the project knows becomes one sentence and exit status 1."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what we tell anyway
    try:
        app()
    except VisualSearchError as error:
        err.print(f"[bold red]error:[/] {escape(printable(str(error)))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
