"""`visualsearch images`: the images of the corpus."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from cli.console import out, print_json
from cli.tables import images_table
from visualsearch.client import connect
from visualsearch.domain.images import Status

PAGE = 1000

app = typer.Typer(no_args_is_help=True, help="The images of the corpus.")


@app.command("list")
def list_command(
    *,
    status: Annotated[Status | None, typer.Option(help="Only images with this status.")] = None,
    source: Annotated[str, typer.Option(help="Only images of this source.")] = "",
    prefix: Annotated[str, typer.Option(help="Only images whose key in the bucket begins so.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0 lists all.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="As the gateway tells.")] = False,
) -> None:
    """List images in the order of their ids, as far as your key may see them."""
    wanted = {"status": status or "", "source": source, "prefix": prefix, "limit": min(limit or PAGE, PAGE)}
    with connect() as client:
        found = client.images(**{name: value for name, value in wanted.items() if value})
        listed = list(itertools.islice(found, limit or None))
    if json:
        print_json(listed)
    else:
        out.print(images_table(listed))


@app.command("get")
def get_command(image_id: Annotated[int, typer.Argument(help="The image's id.")]) -> None:
    """Show what is known of an image."""
    with connect() as client:
        print_json(client.image(image_id))


@app.command("delete")
def delete_command(image_id: Annotated[int, typer.Argument(help="The image's id.")]) -> None:
    """Delete an image from search, metadata and the object store."""
    with connect() as client:
        client.delete(image_id)
    out.print(f"Image {image_id} is deleted.")
