"""`visualsearch index`: put pictures into the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import open_bucket, with_indexing_stores
from cli.console import out
from cli.file_indexing import FileIndexing, holds_pictures
from cli.folder_indexing import FolderIndexing, FolderOptions
from cli.index_names import IndexNames
from cli.index_progress import index_with_bar
from indexer.sources.picture_sources import Bucket
from indexer.sources.shards import expand
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.object_keys import bucket_name, canonical_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.sources.index_summary import Summary
    from visualsearch.indexing_stores import IndexingStores

S3 = "s3://"


def index(
    what: Annotated[
        list[str],
        typer.Argument(
            help="A folder of pictures, one picture, s3://bucket/prefix, archives (x.zip, shard-{000..010}.tar), or a "
            "table that names pictures (CSV, Parquet)."
        ),
    ],
    *,
    name: Annotated[str, typer.Option(help="What the folder is called in the corpus; its own name by default.")] = "",
    exclude: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Leave out what matches, as in .gitignore; can be repeated.")
    ] = [],  # noqa: B006 - typer takes no other default
    include: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Take what matches although it is excluded; can be repeated.")
    ] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove images of the folder that are no longer in it, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Prune without a question.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow the folder and index what changes.")] = False,
) -> None:
    """Index pictures: into the object store, onto the stream, and searchable. Unchanged ones are skipped.

    What lies in another bucket is copied into the corpus' own; what lies there already is indexed in place.
    Hidden files, thumbnails of NAS and the like are excluded, and what a .visualsearchignore says.
    """
    options = FolderOptions(name, (*exclude, *(f"!{one}" for one in include)), dry_run, prune, yes, watch)
    if len(what) == 1 and what[0].startswith(S3):
        summary = _index_bucket(what[0].removeprefix(S3), options)
    else:
        summary = _index_files([path for one in what for path in _meant(one)], options)
    found_nothing = summary.rejected and not summary.indexed + summary.skipped
    raise typer.Exit(1 if found_nothing else 0)


def _index_files(paths: Sequence[Path], options: FolderOptions) -> Summary:
    if len(paths) > 1 or holds_pictures(paths[0]):
        return with_indexing_stores(lambda stores: FileIndexing(stores, out, options).run(paths))
    return with_indexing_stores(lambda stores: FolderIndexing(stores, out, options).run(paths[0]))


def _meant(name: str) -> list[Path]:
    """Return the file or folder of a name; if there is none, those that its braces count."""
    names = [name] if _exists(name) else expand(name)
    for one in names:
        if not _exists(one):
            raise InvalidInput(f"There is no file or folder {one!r}.")
    return list(map(Path, names))


def _exists(what: str) -> bool:
    try:
        return bool(what) and Path(what).exists()
    except OSError as error:
        raise InvalidInput(f"{what!r} cannot be read: {error.strerror}.") from None


def _index_bucket(what: str, options: FolderOptions) -> Summary:
    if options != FolderOptions(dry_run=options.dry_run):
        raise InvalidInput("For buckets there is only --dry-run; the other options are for folders.")
    name, _, below = what.partition("/")
    bucket_name(name)
    if below:
        canonical_key(below.removesuffix("/"))

    async def work(stores: IndexingStores) -> Summary:
        source = Bucket(open_bucket(name), below, stores.object_store.bucket)
        named = await IndexNames(stores, out, dry_run=options.dry_run).named_bucket(source)
        return await index_with_bar(stores, named, out, dry_run=options.dry_run)

    return with_indexing_stores(work)
