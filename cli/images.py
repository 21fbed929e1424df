"""`visualsearch images`: the images of the corpus."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from cli.console import err, out, print_json
from cli.tables import images_table
from visualsearch.client import DELETED_AT_ONCE, connect
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import Status, Visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.client import Client

PAGE = 1000
WAIT_S = 10.0
"""How long to wait until an indexer has done its part of a change."""

app = typer.Typer(no_args_is_help=True, help="The images of the corpus.")
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command("list")
def list_command(
    *,
    status: Annotated[Status | None, typer.Option(help="Only images with this status.")] = None,
    source: Annotated[str, typer.Option(help="Only images of this source.")] = "",
    prefix: Annotated[str, typer.Option(help="Only images whose key in the bucket begins so.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0 lists all.")] = 100,
    json: Json = False,
) -> None:
    """List images in the order of their ids, as far as your key may see them."""
    wanted = {"status": status or "", "source": source, "prefix": prefix, "limit": min(limit or PAGE, PAGE)}
    with connect() as client:
        found = client.images(**{name: value for name, value in wanted.items() if value})
        listed = list(itertools.islice(found, limit or None))
        more = next(found, None) is not None if limit else False
    if json:
        print_json(listed)
    else:
        out.print(images_table(listed))
    if more:
        err.print(f"These are the first {limit}; --limit 0 lists all.")


@app.command("get")
def get_command(
    image_id: Annotated[int, typer.Argument(help="The image's id.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="As JSON, which is the default.")] = True,
) -> None:
    """Show what is known of an image."""
    with connect() as client:
        print_json(client.image(image_id))


@app.command("delete")
def delete_command(
    image_ids: Annotated[list[int] | None, typer.Argument(help="Ids of images.")] = None,
    *,
    prefix: Annotated[str, typer.Option(help="Images whose key in the bucket begins so.")] = "",
    source: Annotated[str, typer.Option(help="Images of this source.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete images from search, metadata and the object store: your own, or with an administrator's key any.

    Where ids, prefix and source are combined, all must hold.
    """
    ids = list(dict.fromkeys(image_ids or []))
    wanted = {name: value for name, value in {"prefix": prefix, "source": source}.items() if value}
    if not ids and not wanted:
        raise InvalidInput("Say which images: give ids, --prefix or --source.")
    with connect() as client:
        found = _deletable(client, ids, wanted)
        if not dry_run:
            if wanted and found and not yes:
                typer.confirm(f"Delete {len(found):,} images?", abort=True, err=True)
            found = _delete(client, found)
    missing = [one for one in ids if one not in set(found)]
    if json:
        print_json({"image_ids": found, "dry_run": dry_run, "missing": missing})
    else:
        out.print(_sentence(found, dry_run))
    if missing:
        raise NotFound(f"Not there, or not yours: {', '.join(map(str, missing))}.")


@app.command("set")
def set_command(
    image_ids: Annotated[list[int], typer.Argument(help="Ids of images.")],
    *,
    source: Annotated[str | None, typer.Option(help="Their new source.")] = None,
    visibility: Annotated[Visibility | None, typer.Option(help="Who finds them.")] = None,
    json: Json = False,
) -> None:
    """Change images; no search shows them until an indexer has written their vectors anew."""
    wanted = {name: str(value) for name, value in {"source": source, "visibility": visibility}.items() if value}
    if not wanted:
        raise InvalidInput("Say what to change: give --source or --visibility.")
    with connect() as client:
        for image_id in image_ids:
            client.change(image_id, **wanted)
        changed = [client.image(image_id, wait_s=WAIT_S) for image_id in image_ids]
    if json:
        print_json(changed)
    else:
        for one in changed:
            out.print(f"Image {one['id']} is changed, and {one['status']}.")


def _deletable(client: Client, ids: Sequence[int], wanted: dict[str, Any]) -> list[int]:
    """Return what would be deleted."""
    if not ids:
        return client.deletable(wanted)
    parts = (ids[begin : begin + PAGE] for begin in range(0, len(ids), PAGE))
    return [one for part in parts for one in client.deletable(wanted | {"image_ids": part})]


def _delete(client: Client, ids: Sequence[int]) -> list[int]:
    """Delete images, with a bar if there are many; return the ids of those that were still there."""
    parts = [ids[begin : begin + DELETED_AT_ONCE] for begin in range(0, len(ids), DELETED_AT_ONCE)]
    shown = track(parts, "Deleting", console=err, disable=len(parts) < 2)
    return [one for part in shown for one in client.delete_all(part)]


def _sentence(ids: Sequence[int], dry_run: bool) -> str:
    subject = f"Image {ids[0]}" if len(ids) == 1 else f"{len(ids):,} images"
    verb = "is" if len(ids) == 1 else "are"
    return f"{subject} would be deleted." if dry_run else f"{subject} {verb} deleted."
