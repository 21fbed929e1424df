"""The `visualsearch` command."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import orjson
import typer
from rich.console import Console

from cli import experiment, plan, release
from visualsearch.domain.errors import ConfigurationError, InvalidInput, VisualSearchError
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from indexer.sources.bulk import Summary
    from visualsearch.composition import Stores

PIPE_WIDTH = 200
"""Columns where nobody tells how wide the paper is: tables broken into 80 are hard to search."""
COMMAND_TIMEOUT_S = 30.0
"""A command can wait longer for a server than a request can."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
images = typer.Typer(no_args_is_help=True, help="One image of the corpus.")
dead_letters = typer.Typer(no_args_is_help=True, help="Events that the indexers have given up on.")
app.add_typer(images, name="images")
app.add_typer(release.app, name="release")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(experiment.app, name="experiment")
app.command("plan")(plan.plan)

out = Console() if sys.stdout.isatty() else Console(width=int(os.environ.get("COLUMNS") or PIPE_WIDTH))

T = TypeVar("T")


def _with_stores(work: Callable[[Stores], Awaitable[T]]) -> T:
    """Run work on the stores that the settings name."""
    from visualsearch.composition import open_stores
    from visualsearch.domain.search import Priority

    async def run() -> T:
        async with open_stores(Settings.load(), COMMAND_TIMEOUT_S, Priority.INDEXING) as stores:
            return await work(stores)

    return asyncio.run(run())


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option(help="Return when all is ready; the servers go on.")] = False,
    lite: Annotated[bool, typer.Option(help="ONNX Runtime in process and milvus-lite, for other platforms.")] = False,
) -> None:
    """Start the local servers, the indexer and the gateway; what they hold is kept from one start to the next."""
    from compose import runner

    raise typer.Exit(runner.up(Settings.load().home, detach=detach, lite=lite))


@app.command()
def down() -> None:
    """Stop everything that `up` started."""
    from compose import runner

    raise typer.Exit(runner.down(Settings.load().home))


@app.command()
def status(*, json: Annotated[bool, typer.Option("--json", help="One object per process.")] = False) -> None:
    """Say what runs: pid, port, uptime, memory, health."""
    from compose import runner

    home = Settings.load().home
    if not json:
        runner.print_status(home)
        return
    sys.stdout.write(orjson.dumps(runner.status(home), option=orjson.OPT_INDENT_2).decode() + "\n")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process, such as milvus; all of them when left out.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
) -> None:
    """Show what the processes have written."""
    from compose import runner

    runner.logs(Settings.load().home, name, lines, follow)


@app.command()
def prometheus() -> None:
    """Print a Prometheus configuration that scrapes the running local stack, with the alarms."""
    from compose.prometheus_config import local_config

    sys.stdout.write(local_config(Settings.load().home))


@app.command()
def init() -> None:
    """Make the stores ready: schema, bucket, stream group, collection and first release. Harmless when done before."""
    from visualsearch.adapters.postgres.migrations import migrate
    from visualsearch.initialize import initialize

    settings = Settings.load()
    migrate(settings.postgres_dsn, settings.postgres_password.get_secret_value())
    live = _with_stores(lambda stores: initialize(stores, settings))
    out.print(f"Release {live.name} is live: model version {live.model_version}, collection {live.collection}.")


@app.command()
def index(
    what: Annotated[str, typer.Argument(help="A folder of pictures, one picture, or s3://bucket/prefix.")],
) -> None:
    """Index pictures: into the object store, onto the stream, and searchable. Unchanged ones are skipped.

    What lies in another bucket is copied into the corpus' own; what lies there already is indexed in place.
    """
    from cli.index_progress import index_with_bar
    from indexer.sources.picture_sources import Bucket, Folder
    from visualsearch.composition import bucket

    async def work(stores: Stores) -> Summary:
        if not what.startswith("s3://"):
            return await index_with_bar(stores, Folder(Path(what)), out)
        name, _, prefix = what.removeprefix("s3://").partition("/")
        object_store = bucket(Settings.load(), name, COMMAND_TIMEOUT_S)
        return await index_with_bar(stores, Bucket(object_store, prefix, stores.object_store.bucket), out)

    if not what.startswith("s3://") and not Path(what).exists():
        raise InvalidInput(f"There is no file or folder {what!r}.")
    summary = _with_stores(work)
    raise typer.Exit(1 if summary.rejected and not summary.indexed + summary.skipped else 0)


@app.command()
def search(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A JPEG, PNG or WebP.")],
    bbox: Annotated[str | None, typer.Option(help="x1,y1,x2,y2 in pixels of the upright picture.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many results, 1 to 200.")] = 10,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG.")] = None,
    near_duplicates: Annotated[str, typer.Option(help="collapse or keep.")] = "collapse",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as it came.")] = False,
) -> None:
    """Find the pictures most similar to a file, or to a box inside it."""
    from cli.tables import results_table, write_sheet
    from visualsearch.client import connect
    from visualsearch.imaging.preprocessing import parse_box

    box = parse_box(bbox) if bbox else None
    with connect() as client:
        answer = client.search(file, bbox=bbox, k=k, near_duplicates=near_duplicates)
        if json:
            sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")
        else:
            out.print(results_table(answer))
        if sheet:
            write_sheet(client, file, box, answer, sheet)
            Console(stderr=True).print(f"Contact sheet: {sheet}")


@images.command("get")
def images_get(image_id: Annotated[int, typer.Argument(help="The image's id.")]) -> None:
    """Show what is known of an image."""
    from visualsearch.client import connect

    with connect() as client:
        sys.stdout.write(orjson.dumps(client.image(image_id), option=orjson.OPT_INDENT_2).decode() + "\n")


@images.command("delete")
def images_delete(image_id: Annotated[int, typer.Argument(help="The image's id.")]) -> None:
    """Delete an image from search, metadata and the object store."""
    from visualsearch.client import connect

    with connect() as client:
        client.delete(image_id)
    out.print(f"Image {image_id} is deleted.")


@app.command()
def reconcile(
    *, repair: Annotated[bool, typer.Option(help="Put right what differs, or onto the stream.")] = False
) -> None:
    """Compare object store, catalog and collections; exit with 1 when they differ."""
    from cli.maintenance import reconcile_with_counts

    report = _with_stores(lambda stores: reconcile_with_counts(stores, out, repair=repair))
    raise typer.Exit(0 if report.agrees else 1)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    *,
    objects: Annotated[bool, typer.Option(help="Copy the pictures too, not only their list.")] = True,
) -> None:
    """Write everything into one folder while search goes on: rows, vectors, models, pictures."""
    from cli.maintenance import backup_with_counts
    from visualsearch.composition import dump

    settings = Settings.load()
    models = settings.model_repository / settings.model_name
    _with_stores(lambda stores: backup_with_counts(stores, dump(settings), models, out, folder, with_objects=objects))
    out.print(f"Backup: {folder}", highlight=False)


@app.command()
def restore(folder: Annotated[Path, typer.Argument(help="What `visualsearch backup` wrote.")]) -> None:
    """Bring a backup into an empty stack that runs, then compare the stores and repair what differs."""
    from cli.maintenance import reconcile_with_counts, restore_with_counts
    from visualsearch.composition import dump
    from visualsearch.initialize import initialize

    settings = Settings.load()

    async def work(stores: Stores) -> None:
        await restore_with_counts(stores, dump(settings), settings.model_repository / settings.model_name, out, folder)
        await initialize(stores, settings)  # the live release's alias, for people in Milvus' console
        await reconcile_with_counts(stores, out, repair=True)

    _with_stores(work)


@app.command()
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
    from cli.tune import tune as tuned

    reached = _with_stores(lambda stores: tuned(stores, out, recall, queries, nlist or [], plot, dry_run=dry_run))
    raise typer.Exit(0 if reached else 1)


@dead_letters.command("list")
def dead_letters_list(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 100,
) -> None:
    """List the events that were given up on, with the reason."""
    from cli.tables import dead_letters_table

    out.print(dead_letters_table(_with_stores(lambda stores: stores.events.dead_letters(limit))))


@dead_letters.command("retry")
def dead_letters_retry(
    entries: Annotated[list[str] | None, typer.Argument(help="Entries to retry; all of them when left out.")] = None,
) -> None:
    """Put dead letters back on the stream."""
    revived = _with_stores(lambda stores: stores.events.requeue(entries or []))
    out.print(f"{revived} events are on the stream again.")


_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For commands whose words another module reads, --help included."""


@app.command(context_settings=_WORDS)
def train(words: typer.Context) -> None:
    """Train an encoder on your pictures (--help tells how). Needs the training environment."""
    _run_module("training.train", words)


@app.command(context_settings=_WORDS)
def evaluate(words: typer.Context) -> None:
    """Judge an encoder, a ranking or the running gateway: nDCG, mAP, recall (--help tells how)."""
    _run_module("evaluation.offline.evaluate", words)


@app.command(context_settings=_WORDS)
def export(words: typer.Context) -> None:
    """Write an encoder as ONNX (--help tells how). Needs the training environment."""
    _run_module("export.to_onnx", words)


def _run_module(name: str, words: typer.Context) -> None:
    """Run a module's own command; it is imported only now, since nothing that serves has its packages."""
    try:
        module = import_module(name)
        status: int = module.main(words.args)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`visualsearch {words.info_name}` needs {error.name}, which is in the training environment: "
            f"`make setup-train` makes it; then run `.venv-train/bin/visualsearch {words.info_name}`."
        ) from None
    raise typer.Exit(status)


def main() -> None:
    """Run the command; an error that the project knows becomes one sentence and exit status 1."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what we tell anyway
    try:
        app()
    except VisualSearchError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name != "compose":
            raise
        sys.stderr.write("error: The local servers are not part of this image: run this in a checkout.\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
