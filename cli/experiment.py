"""`visualsearch experiment`: define, start, stop and judge experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import err, out, print_json
from cli.tables import experiments_table
from visualsearch.client import connect
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Variants of search beside each other, and which is better.")

SEARCH_PARAMS = {"nprobe", "ef"}
WORDS = {"release"}
"""What a variant sets to a word; everything else is a number, or yes."""

Name = Annotated[str, typer.Argument(help="The experiment's name.")]


def parse_variant(text: str) -> dict[str, Any]:
    """Read ``name[@weight][:key=value,...]``, such as ``wide@2:nprobe=128,candidates=400``; raises ``InvalidInput``."""
    head, _, rest = text.partition(":")
    name, _, weight = head.partition("@")
    variant: dict[str, Any] = {"name": name, "search_params": {}}
    try:
        if weight:
            variant["weight"] = int(weight)
        for pair in filter(None, rest.split(",")):
            key, _, value = pair.strip().partition("=")
            into = variant["search_params"] if key in SEARCH_PARAMS else variant
            into[key] = value if key in WORDS else True if value == "yes" else int(value)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no variant: write name:key=number,key=number, such as wide:nprobe=128."
        ) from None
    return variant


@app.command()
def create(
    name: Name,
    variant: Annotated[
        list[str],
        typer.Option(
            help="name[@weight][:key=value,...]; twice or more, the control first. Keys: release, nprobe, ef, "
            "candidates, near_duplicate_distance, keep_near_duplicates=yes, min_side."
        ),
    ],
    layer: Annotated[str, typer.Option(help="Experiments of one layer never meet in one user.")] = "default",
    share: Annotated[float, typer.Option(help="Part of the layer's users, up to 1.")] = 1.0,
    expect: Annotated[float, typer.Option(help="Relative change of CTR that the test is most sensitive to.")] = 0.05,
) -> None:
    """Define an experiment; it has no effect until it is started."""
    wanted = {"name": name, "layer": layer, "share": share, "expected_lift": expect}
    with connect() as client:
        created = client.experiment("", {**wanted, "variants": [parse_variant(text) for text in variant]})
    out.print(experiments_table([created]))


@app.command("list")
def everything(*, json: Annotated[bool, typer.Option("--json", help="As the gateway tells.")] = False) -> None:
    """List all experiments, the newest first."""
    with connect() as client:
        found = client.experiments()
    if json:
        print_json(found)
    else:
        out.print(experiments_table(found))


@app.command()
def start(name: Name) -> None:
    """Let a draft run; searches know of it within about a second."""
    with connect() as client:
        out.print(experiments_table([client.experiment(f"/{name}/start")]))


@app.command()
def stop(name: Name) -> None:
    """End an experiment for everybody; what was written down stays."""
    with connect() as client:
        out.print(experiments_table([client.experiment(f"/{name}/stop")]))


@app.command()
def report(
    name: Name,
    plot: Annotated[
        Path | None, typer.Option(help="Draw CTR and its confidence sequences by day into this PNG.")
    ] = None,
    alpha: Annotated[float, typer.Option(min=0.001, max=0.5, help="Chance of a false alarm, ever.")] = 0.05,
    pre_days: Annotated[int, typer.Option(min=0, help="Days before the start that CUPED learns from; 0: none.")] = 14,
    *,
    json: Annotated[bool, typer.Option("--json", help="Every number, and every day.")] = False,
) -> None:
    """Say which variant is better, as of now; looking often does no harm."""
    try:
        from cli.experiment_report import as_json, judge, show

        judged = judge(Settings.load(), name, alpha, pre_days)
        if json:
            print_json(as_json(judged))
        else:
            show(judged, out)
        if plot:
            from evaluation.online.plot import draw

            draw(judged, plot)
            err.print(f"Plot: {plot}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"A report needs {error.name}: install it by `pip install 'visual-search[report]'`, or `make setup-dev`."
        ) from None
