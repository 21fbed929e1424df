"""`visualsearch images`: one image of the corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import out, print_json
from visualsearch.client import connect

app = typer.Typer(no_args_is_help=True, help="One image of the corpus.")


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
