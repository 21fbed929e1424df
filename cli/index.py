"""`visualsearch index`: put pictures into the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import open_bucket, with_stores
from cli.console import out
from cli.index_progress import index_with_bar
from indexer.sources.picture_sources import Bucket, Folder
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from indexer.sources.bulk import Summary
    from visualsearch.composition import Stores


def index(
    what: Annotated[str, typer.Argument(help="A folder of pictures, one picture, or s3://bucket/prefix.")],
) -> None:
    """Index pictures: into the object store, onto the stream, and searchable. Unchanged ones are skipped.

    What lies in another bucket is copied into the corpus' own; what lies there already is indexed in place.
    """

    async def work(stores: Stores) -> Summary:
        if not what.startswith("s3://"):
            return await index_with_bar(stores, Folder(Path(what)), out)
        name, _, prefix = what.removeprefix("s3://").partition("/")
        object_store = open_bucket(name)
        return await index_with_bar(stores, Bucket(object_store, prefix, stores.object_store.bucket), out)

    if not what.startswith("s3://") and not Path(what).exists():
        raise InvalidInput(f"There is no file or folder {what!r}.")
    summary = with_stores(work, search_servers=False)
    raise typer.Exit(1 if summary.rejected and not summary.indexed + summary.skipped else 0)
