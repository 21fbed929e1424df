"""`visualsearch plan`: a capacity plan as a table, one column for each size."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.console import out
from visualsearch.capacity_plan import CapacityPlan, Shape
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGEST = 10**13
USUAL = Shape()
NOTE = (
    "Computed from measured figures (formulas in visualsearch/capacity_plan.py), not measured. One collection holds a "
    "release; no corpus of more than 100,000 images was tried here."
)


def count(text: str) -> int:
    """Read 1000000, 1_000_000 or 1e6; raises ``InvalidInput``."""
    try:
        number = float(text)
        images = int(number)
    except (ValueError, OverflowError):
        raise InvalidInput(f"--images takes a number such as 1e6 or 1_000_000, not {text!r}.") from None
    if number != images or not 1 <= images <= LARGEST:
        raise InvalidInput(f"--images takes a whole number from 1 to {LARGEST:,}, not {text!r}.")
    return images


def rows(plans: Sequence[CapacityPlan]) -> list[list[str]]:
    """Lay the plans out: a heading and then a line for each thing that is needed."""
    lines: list[tuple[str, Callable[[CapacityPlan], str]]] = [
        ("codes, ids and scalars in memory, each replica", lambda p: size(p.loaded_gb)),
        ("query nodes", lambda p: f"{p.query_nodes:,}"),
        ("raw vectors on each node's disk", lambda p: size(p.node_disk_gb)),
        ("shards; segments", lambda p: f"{p.shards}; {p.segments:,}"),
        ("a search in Milvus: CPU; at best", lambda p: f"{ms(p.search_cpu_ms)}; {ms(p.scan_ms)}"),
        ("Triton pods without a card", lambda p: f"{p.triton_cpu_pods:,}"),
        ("Triton pods with a card", lambda p: f"{p.triton_gpu_pods:,}" if p.triton_gpu_pods else "rate not known"),
        ("gateways", lambda p: f"{p.gateways:,}"),
        ("indexers; images a second", lambda p: f"{p.indexers:,}; {p.index_images_s:,.1f}"),
        ("Postgres; parts advised", lambda p: f"{size(p.postgres_gb)}; {p.postgres_parts:,}"),
        ("interactions a day", lambda p: size(p.interactions_gb_day)),
        ("object store", lambda p: size(p.store_gb)),
    ]
    heading = ["", *(f"{plan.images:,} images" for plan in plans)]
    return [heading, *([label, *map(tell, plans)] for label, tell in lines)]


def size(gigabytes: float) -> str:
    """Write bytes as people say them."""
    for unit, factor in (("PB", 1e6), ("TB", 1e3), ("GB", 1.0)):
        if gigabytes >= factor:
            return f"{gigabytes / factor:,.1f} {unit}"
    return f"{gigabytes * 1000:.1f} MB"


def ms(value: float) -> str:
    """Write milliseconds, or seconds where they are many."""
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown table."""
    heading, *lines = (f"| {' | '.join(line)} |" for line in table)
    return "\n".join([heading, "|---" * len(table[0]) + "|", *lines])


def plan(
    images: Annotated[list[str], typer.Option(help="How many images; may be given several times.")],
    qps: Annotated[float, typer.Option(min=0.001, max=1e6, help="Searches a second.")] = 10,
    node_gb: Annotated[float, typer.Option(min=1, help="Memory of a query node, GB.")] = USUAL.node_gb,
    node_cores: Annotated[int, typer.Option(min=1, help="Cores of a query node.")] = USUAL.node_cores,
    replicas: Annotated[int, typer.Option(min=1, max=16, help="Copies that are loaded.")] = USUAL.replicas,
    image_kb: Annotated[float, typer.Option(min=0.1, help="Size of a picture, KB.")] = USUAL.image_kb,
    renew_days: Annotated[float, typer.Option(min=0.01, help="Days to index all once.")] = USUAL.renew_days,
    gpu_images_s: Annotated[float, typer.Option(min=0, help="Images a second that a card embeds.")] = 0,
    *,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Say how much memory, disk and how many pods a corpus and its searches need."""
    shape = Shape(
        node_gb=node_gb,
        node_cores=node_cores,
        replicas=replicas,
        image_kb=image_kb,
        renew_days=renew_days,
        gpu_images_s=gpu_images_s,
    )
    table = rows([CapacityPlan(count(one), qps, shape) for one in images])
    if as_markdown:
        sys.stdout.write(markdown(table) + "\n")
        return
    shown = Table(*table[0], title=f"{qps:g} searches a second", caption=NOTE)
    for line in table[1:]:
        shown.add_row(*line)
    out.print(shown)
