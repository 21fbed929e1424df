"""`visualsearch search`: find similar pictures from a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import err, out, print_json
from cli.tables import results_table, write_sheet
from visualsearch.client import connect
from visualsearch.imaging.boxes import parse_box


def search(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A picture.")],
    bbox: Annotated[str | None, typer.Option(help="x1,y1,x2,y2 in pixels of the upright picture.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many results, 1 to 200.")] = 10,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG.")] = None,
    near_duplicates: Annotated[str, typer.Option(help="collapse or keep.")] = "collapse",
    min_score: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Leave out pictures that are less similar, -1 to 1.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as it came.")] = False,
) -> None:
    """Find the pictures most similar to a file, or to a box inside it."""
    box = parse_box(bbox) if bbox else None
    with connect() as client:
        answer = client.search(file, bbox=bbox, k=k, near_duplicates=near_duplicates, min_score=min_score)
        if json:
            print_json(answer)
        else:
            out.print(results_table(answer))
            if min_score is not None and not answer["results"]:
                err.print(f"Nothing in the index has a score of {min_score:g} or more: lower --min-score.")
        if sheet:
            write_sheet(client, file, box, answer, sheet)
            err.print(f"Contact sheet: {sheet}", markup=False)
